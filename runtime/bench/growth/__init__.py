"""How the time after the mask grows: with the pixels of a picture, and with the hairs in it."""
