"""The work queue: what a message is, putting messages on it, and doing what they ask."""
