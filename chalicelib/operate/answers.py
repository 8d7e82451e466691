"""Answers to an operator as Lambda returns them: JSON, and at most 6 MB, beyond which the function would fail."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from typing import Any, TypeVar

from chalicelib.core.clock import iso

Part = TypeVar("Part", bound=Sequence[Any])

# Below Lambda's limit of 6 MiB, with space for the note that something was cut.
MOST_BYTES = 6_000_000


def to_json(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as objects, moments and days as ISO 8601."""
    match value:
        case dict():
            return {key: to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
    return to_json(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value


def fit(answer: dict[str, Any], *, most: int = MOST_BYTES) -> dict[str, Any]:
    """Return the answer, with its longest parts cut until it is short enough; `truncated` then says what was cut.

    A list or a text loses its end. Any other value becomes the beginning of its JSON.
    """
    notes = []
    while (size := _size(answer)) > most:
        name = max(answer, key=lambda key: _size(answer[key]))
        part = answer[name]
        if not isinstance(part, list | str):
            part = json.dumps(part, ensure_ascii=False)
        kept = beginning(part, most=max(0, most - size + _size(answer[name])))
        if kept == answer[name]:
            break
        unit = "characters" if isinstance(part, str) else "entries"
        notes.append(f"of {name} the first {len(kept):,} of {len(part):,} {unit}")
        answer = answer | {name: kept}
    if not notes:
        return answer
    return answer | {"truncated": f"the answer is longer than Lambda allows and was cut: {'; '.join(notes)}"}


def beginning(part: Part, *, most: int) -> Part:
    """Return the longest beginning of a text or a list that has at most so many bytes as JSON."""
    length = bisect_right(range(len(part) + 1), most, key=lambda count: _size(part[:count])) - 1
    return part[: max(0, length)]  # type: ignore[return-value]


def _size(value: Any) -> int:
    # In ASCII, with escapes, as some of Lambda's runtimes write it.
    return len(json.dumps(value))
