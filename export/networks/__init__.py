"""Networks written in the project, one a file."""
