"""What `trichoscope bench` measures: speed and memory, a subject a file. Speed lives here and never in a test."""
