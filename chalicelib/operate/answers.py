"""An operator's answer as Lambda can return it: Lambda fails a function whose answer has more than 6 MB."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, TypeVar

Part = TypeVar("Part", bound=Sequence[Any])

# Below Lambda's limit of 6 MiB, with space for what says that something was cut.
MOST_BYTES = 6_000_000


def fit(answer: dict[str, Any], *, most: int = MOST_BYTES) -> dict[str, Any]:
    """Return the answer, its longest parts cut until it is short enough; `truncated` then says what was cut.

    A list loses its end, and what is neither a list nor a text becomes the beginning of its JSON.
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
    """Return as much of the beginning of a text or a list as has so many bytes as JSON, nothing where none has."""
    length = bisect_right(range(len(part) + 1), most, key=lambda count: _size(part[:count])) - 1
    return part[: max(0, length)]  # type: ignore[return-value]


def _size(value: Any) -> int:
    # With escapes for what is not ASCII, as some of Lambda's runtimes write it.
    return len(json.dumps(value))
