"""What is wrong with text that is not valid JSON, where the words of the parsers mislead."""

import re

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
