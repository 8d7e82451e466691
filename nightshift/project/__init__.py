"""The files of a project: what they say, and what a deployment writes into them."""
