"""Networks of the SAM family: an encoder of the picture, an encoder of prompts, and a decoder that answers with masks."""
