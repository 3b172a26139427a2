"""The training of the hybrid forecast with its baselines and controls."""
