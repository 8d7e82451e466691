"""Runs of tasks: fires, claims, execution, and the watch."""
