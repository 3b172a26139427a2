"""What can be plugged in: the microscope's camera, the handpiece; one driver a file. Knows nothing of models or storage."""
