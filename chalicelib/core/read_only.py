"""Which commands only read. The function `look` runs these, so read access needs no right to change anything."""


def is_read_only(command: str) -> bool:
    """Return whether a command only reads, which its name says: it lists or shows something, or is `status`."""
    return command == "status" or command.endswith((".list", ".show"))
