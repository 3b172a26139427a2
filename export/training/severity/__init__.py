"""Training of the severity classifier: persons measured, a classifier fitted to the figures of their hairs, its bundle part."""
