"""What an error says to people: of a database's, what the server said, and not the statement around it."""

import re
from collections.abc import Collection, Iterable

from chalicelib.core.errors import NightshiftError, TransientError

# Too many connections; a user or a database that is not let in or not there; a server that is not.
AWAY = {1040, 1044, 1045, 1049, 1698, 2002, 2003, 2005}
_MISSING = re.compile(r"no such table: (\w+)|Table '[^']*\.(\w+)' doesn't exist")
# Which redaction would take for a password.
_NOISE = re.compile(r" \(using password: \w+\)")


def sentence_of(error: Exception) -> str:
    """Return what an error says."""
    code, said = _of_driver(error)
    if said is None:
        return str(error)
    said = _NOISE.sub("", said)
    number = "" if code is None else f" ({code})"
    if code in AWAY:
        return f"the database cannot be used: {said}{number}"
    return f"the database says: {said}{number}{_advice(said)}"


def named(error: Exception) -> Exception:
    """Return an error of ours in place of a database's, and any other as it is."""
    if _of_driver(error)[1] is None:
        return error
    ours = TransientError(sentence_of(error))
    ours.__cause__ = error
    return ours


def is_named(error: Exception) -> bool:
    """Return whether an error's sentence says it all; whatever else went wrong, its traceback says where."""
    code, said = _of_driver(error)
    return isinstance(error, NightshiftError) or code in AWAY or bool(_advice(said or ""))


def _of_driver(error: Exception) -> tuple[int | None, str | None]:
    """Return the number and the words of a database's error, nothing of any other."""
    # As SQLAlchemy's errors have it, which most functions never import for this.
    original = getattr(error, "orig", None)
    if not isinstance(original, Exception):
        return None, None
    match original.args:
        case (int(code), str(said), *_):
            return code, said
    return None, str(original)


def _advice(said: str) -> str:
    found = _MISSING.search(said)
    if found is None:
        return ""
    from chalicelib import application, schema

    tables = {*(getattr(schema, name) for name in schema.__all__), *application.created_if_missing}
    is_ours = (found[1] or found[2]) in {table.name for table in tables - {application.users, application.posts}}
    return "; bring it to the newest schema with nightshift migrate" if is_ours else ""


BOM = "\ufeff"
# Half of a pair such as \ud83d\ude00, which alone is no character.
_HALF = re.compile(r"(?<!\\)(?:\\\\)*+\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")


def explain(text: str | bytes, error: Exception) -> str:
    """Return what is wrong with a text that `json` or msgspec refused with this error."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if text.startswith(BOM):
        return "it begins with a byte order mark (U+FEFF), which JSON does not allow"
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    words = str(error)
    if "surrogate pair" in words or (words == "Input data was truncated" and _HALF.search(text)):
        return r"it has half of a surrogate pair, such as \ud800, which is no character"
    if "integer string conversion" in words or words.startswith("Integer value out of range"):
        return "it has an integer of too many digits"
    return words


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
