"""What the program may be used for: one versioned text from which the words of results and the roles that load are taken, and who declared it."""
