"""Handlers of jobs, one file a type. A handler's type is its file's name."""
