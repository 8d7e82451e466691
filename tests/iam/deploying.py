"""The roles and policies of infra/deploy-role.yaml, with a stage's names put in."""

from typing import Any

from tests.infra.templates import deployed

BOUNDARY = "arn:aws:iam::123456789012:policy/boundary"
# What a reference to a resource of the template comes to, and what references to nothing do.
REFERENCES = {
    **{name: name for name in ("GitHub", "ReadPolicy", "DeployPolicy", "StacksPolicy", "NetworkPolicy")},
    "Boundary": BOUNDARY,
    "AWS::NoValue": None,
}


def resources(**parameters: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the template's resources by name, for a stage with a network and a database."""
    given = {"Repository": "owner/application", "NetworkAndDatabase": "yes", **REFERENCES, **parameters}
    return deployed("deploy-role", **given)


def policies(**parameters: str) -> dict[str, list[dict[str, Any]]]:
    """Return the statements of each managed policy by its name."""
    found = resources(**parameters).items()
    return {name: each["PolicyDocument"]["Statement"] for name, each in found if "PolicyDocument" in each}
