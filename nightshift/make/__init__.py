"""The generator: a new task or handler, with all that this project wants of one, or nothing at all."""
