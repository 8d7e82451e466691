"""The text of a schema at one moment."""
