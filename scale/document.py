"""The tables of a document: each stands between two comments, and is replaced by what the commands print."""

import re
from collections.abc import Mapping


def fill(text: str, tables: Mapping[str, str], *, mark: str) -> str:
    """Return the document with these tables in the places that bear the mark.

    Raises ValueError where the two do not fit together.
    """
    place = re.compile(rf"(<!-- {mark}: (\w+) -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    places = [match[2] for match in place.finditer(text)]
    if sorted(places) != sorted(tables):
        raise ValueError(
            f"the document has places for the tables {', '.join(places)}, and there are {', '.join(tables)}: "
            f"each needs one place, between <!-- {mark}: NAME --> and <!-- /{mark} -->"
        )
    return place.sub(lambda match: f"{match[1]}{tables[match[2]]}\n{match[3]}", text)
