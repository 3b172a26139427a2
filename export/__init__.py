"""The workstation: networks, training, evaluation, conversion, bundles. Knows nothing of how the kiosk looks."""
