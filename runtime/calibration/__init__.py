"""Making a calibration profile: what counts as a good look at a target, the order for a profile, and the walk that leads a person there."""
