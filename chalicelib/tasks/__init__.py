"""Scheduled tasks, one file or folder each. A task's name is its file's name and its function's in app.py."""
