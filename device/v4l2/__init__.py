"""UVC microscopes through the kernel's own video interface (V4L2): nothing but ioctl and mmap lies between driver and frame."""
