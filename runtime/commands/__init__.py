"""The verbs of `trichoscope`, a file each, imported when used."""
