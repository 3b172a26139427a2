"""What `trichoscope bench devices` measures: the camera's and the handpiece's drivers on fake kernels, fake cables and pseudo-terminals."""
