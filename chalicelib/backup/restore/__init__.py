"""Reading a backup back and restoring it."""
