"""The simulated microscope: seeded scalps with exact truth, a file each subject; the only room below `runtime` that knows hair."""
