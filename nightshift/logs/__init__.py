"""What the functions log: read where it is kept, and put so that people can read it."""
