"""Bundles: trained networks with a manifest that says what is in them and how they are used."""
