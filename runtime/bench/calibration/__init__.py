"""What calibration is worth: scales, curves and hair widths against the truth of rendered pictures."""
