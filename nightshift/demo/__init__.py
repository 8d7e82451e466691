"""Data to try Nightshift with: a generated blog, and posts read from a CSV file."""
