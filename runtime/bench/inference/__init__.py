"""What it costs to run a bundle's networks, backend by backend."""
