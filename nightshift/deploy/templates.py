"""Reading CloudFormation templates."""

from pathlib import Path
from typing import Any, cast

import yaml


class _Loader(yaml.SafeLoader):
    """Reads short forms such as !Ref as their plain values."""


def _plain(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(cast("yaml.MappingNode", node), deep=True)


_Loader.add_multi_constructor("!", _plain)


def parameters_of(template: Path) -> frozenset[str]:
    """Return the names of a template's parameters."""
    return frozenset(yaml.load(template.read_text(encoding="utf-8"), _Loader).get("Parameters", {}))  # noqa: S506
