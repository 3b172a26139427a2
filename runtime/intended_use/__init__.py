"""What the program may be used for: one versioned text from which words and roles are taken, and who declared it."""
