"""The database cleanup: rules that say what is too old to keep, and how it goes without anybody having to wait."""
