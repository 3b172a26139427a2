"""What is kept: captures in SQLite, pictures as files; nothing acknowledged is lost."""
