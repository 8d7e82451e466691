"""A function's least-privilege policy: a template of `.chalice/policies/`, filled with the stage's own ARNs."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Values = Mapping[str, str | Sequence[str]]

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def render(template: Path, values: Values) -> dict[str, Any]:
    """Return the policy document. A statement whose every resource is an empty list is left out.

    Raises ValueError for a placeholder without a value: a policy is never wider than meant by accident.
    """
    document: dict[str, Any] = json.loads(template.read_text(encoding="utf-8"))
    statements = []
    for statement in document["Statement"]:
        wanted = statement["Resource"]
        names = [wanted] if isinstance(wanted, str) else wanted
        resources = [resource for name in names for resource in _fill(name, values, template)]
        if resources:
            statements.append(statement | {"Resource": resources[0] if len(resources) == 1 else resources})
    return document | {"Statement": statements}


def _fill(text: str, values: Values, template: Path) -> list[str]:
    for name in _PLACEHOLDER.findall(text):
        if name not in values:
            raise ValueError(f"{template}: there is no value for ${{{name}}}")
    whole = _PLACEHOLDER.fullmatch(text)
    if whole:
        value = values[whole[1]]
        return [value] if isinstance(value, str) else list(value)
    return [_PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)]
