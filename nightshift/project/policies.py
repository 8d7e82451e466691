"""A function's least-privilege policy: a template of `.chalice/policies/`, filled with the stage's own ARNs.

A template may include others, of `shared/` beside it: what several functions are allowed is written once.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Values = Mapping[str, str | Sequence[str]]

SHARED = "shared"

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def statements_of(template: Path) -> list[dict[str, Any]]:
    """Return the statements of a template, after those of the templates that it includes."""
    document = json.loads(template.read_text(encoding="utf-8"))
    folder = template.parent if template.parent.name == SHARED else template.parent / SHARED
    included = [each for name in document.get("Include", ()) for each in statements_of(folder / f"{name}.json")]
    return [*included, *document["Statement"]]


def render(template: Path, values: Values, *, parts: Collection[str]) -> dict[str, Any]:
    """Return the policy document of a deployment with these parts.

    Left out are the statements whose `Part` is another one, and those whose every resource is an empty list.
    Raises ValueError for a placeholder without a value: a policy is never wider than meant by accident.
    """
    wanted = (each for each in statements_of(template) if "Part" not in each or each["Part"] in parts)
    filled = (_filled(statement, values, template) for statement in wanted)
    return {"Version": "2012-10-17", "Statement": [statement for statement in filled if statement["Resource"]]}


def listed(texts: str | Sequence[str]) -> list[str]:
    """Return as a list what a policy may also write as a single text."""
    return [texts] if isinstance(texts, str) else list(texts)


def _filled(statement: Mapping[str, Any], values: Values, template: Path) -> dict[str, Any]:
    def fill(texts: str | Sequence[str]) -> str | list[str]:
        found = [each for text in listed(texts) for each in _fill(text, values, template)]
        return found[0] if len(found) == 1 else found

    filled = {key: value for key, value in statement.items() if key != "Part"}
    filled["Resource"] = fill(statement["Resource"])
    if "Condition" in statement:
        filled["Condition"] = {
            operator: {key: fill(texts) for key, texts in keys.items()}
            for operator, keys in statement["Condition"].items()
        }
    return filled


def _fill(text: str, values: Values, template: Path) -> Iterator[str]:
    for name in _PLACEHOLDER.findall(text):
        if name not in values:
            raise ValueError(f"{template}: there is no value for ${{{name}}}")
    whole = _PLACEHOLDER.fullmatch(text)
    if whole and not isinstance(values[whole[1]], str):
        yield from values[whole[1]]
    else:
        yield _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)
