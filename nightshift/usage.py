"""What was typed makes no sense."""


class UsageError(ValueError):
    """An option or an argument that no deployment could make sense of."""
