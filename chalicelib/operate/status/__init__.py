"""The status of a deployment: what ran, what did not, what waits, and what to look at first."""
