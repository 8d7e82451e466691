"""What somebody may have meant who wrote a name that is not there."""

from collections.abc import Collection, Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a word, or None where none is."""
    # Seldom needed, and every function would pay for the import.
    from difflib import get_close_matches

    return next(iter(get_close_matches(word[:64], known, n=1)), None)


def suggestion(word: str, known: Collection[str]) -> str:
    """Return the words that suggest the nearest name, or tell all where none is near."""
    close = nearest(word, known)
    return f"did you mean {close}?" if close else f"there are {', '.join(known)}"


def hint(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the nearest name, empty where none is near."""
    close = nearest(word, known)
    return f"; did you mean {close}?" if close else ""
