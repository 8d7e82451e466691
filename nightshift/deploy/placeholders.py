"""What is still as this project shows it: hosts of example.com, and the name of nobody's site."""

import re
from collections.abc import Iterator, Mapping

from nightshift.deploy.configuration import DERIVED_OF_PARTS, derived

# Of RFC 2606: nobody's. At the beginning of a host, of one of its parts, or of what an address has behind its @.
EXAMPLE = re.compile(r"(?:^|[@/.])example\.(?:com|net|org)(?![\w.-])", re.IGNORECASE)
NAME = "Example"


def is_placeholder(value: str) -> bool:
    """Return whether a value is one that nobody has chosen."""
    return value == NAME or EXAMPLE.search(value) is not None


def placeholders(environment: Mapping[str, str], stacks: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield what is a placeholder, of the settings that a deployment does not write itself, and of the stacks."""
    written = {*derived(DERIVED_OF_PARTS), *(["DATABASE_URL"] if "data" in stacks else [])}
    for name, value in environment.items():
        if name not in written and is_placeholder(value):
            yield f"{name} in .chalice/config.json"
    for concern, parameters in stacks.items():
        for name, value in parameters.items():
            if is_placeholder(value):
                yield f"{name} of {concern} in infra/stages.json"
