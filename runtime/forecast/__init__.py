"""The hybrid forecast on the device: a client's visits, records and answers in, a risk with its reasons out."""
