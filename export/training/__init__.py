"""Label-free training on rendered scenes."""
