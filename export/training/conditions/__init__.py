"""Training of the network that grades dandruff, sebum and erythema."""
