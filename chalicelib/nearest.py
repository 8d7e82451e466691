"""What somebody may have meant who wrote a name that is not there."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a word, or None where none is."""
    # Seldom needed, and every function would pay for the import.
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, n=1)), None)
