"""The commands of `trichoscope-export`, a file for each verb."""
