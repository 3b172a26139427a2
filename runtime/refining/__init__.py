"""Refining the mask of a captured field: automatic prompts, promptable refiners, and what is made of both masks."""
