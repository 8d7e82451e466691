"""`nightshift demo`: every task and the queue on a sample blog, or on posts from a CSV file."""
