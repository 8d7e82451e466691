"""The tables of a document: each stands between two comments, and is replaced by what the commands print."""

import re
from collections.abc import Mapping

_PLACE = re.compile(r"(<!-- scale: ([a-z]+) -->\n).*?(<!-- /scale -->)", re.DOTALL)


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Return the document with these tables in their places. Raises ValueError where the two do not fit together."""
    places = [match[2] for match in _PLACE.finditer(text)]
    if sorted(places) != sorted(tables):
        raise ValueError(
            f"the document has places for the tables {', '.join(places)}, and there are {', '.join(tables)}: "
            "each needs one place, between <!-- scale: NAME --> and <!-- /scale -->"
        )
    return _PLACE.sub(lambda match: f"{match[1]}{tables[match[2]]}\n{match[3]}", text)
