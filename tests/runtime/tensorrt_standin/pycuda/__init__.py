VERSION_TEXT = "stand-in"
