"""The CloudFormation templates: each with its loops unrolled, and as a stage's own parameters make it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

from nightshift.project import configuration

ROOT = Path(__file__).parent.parent.parent
INFRA = ROOT / "infra"
STAGE = "prod"
LOOP = "Fn::ForEach::"
# As a deployment gives them to the loops.
SWITCHES = {"on", "off"}
GIVEN: dict[str, Any] = {
    name: text if text in SWITCHES else text.split(",")
    for name, text in configuration.stack_parameters(ROOT, STAGE).items()
}
TASKS, REPORTING, FUNCTIONS = GIVEN["Tasks"], GIVEN["Reporting"], GIVEN["Functions"]
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "eu-central-1", "AWS::AccountId": "123456789012"}


def unrolled(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template with its loops over resources unrolled, as CloudFormation's language extensions do."""
    found = {name: resource for name, resource in template["Resources"].items() if not name.startswith(LOOP)}
    for name, loop in template["Resources"].items():
        if name.startswith(LOOP):
            identifier, values, fragment = loop
            for value in GIVEN[values["Ref"]] if isinstance(values, dict) else values:
                for key, resource in fragment.items():
                    letters = "".join(character for character in value if character.isalnum())
                    unrolled_key = key.replace(f"&{{{identifier}}}", letters)
                    assert unrolled_key not in found, f"CloudFormation takes two for {unrolled_key}"
                    found[unrolled_key] = put(resource, identifier, value, template.get("Mappings", {}))
    return {**template, "Resources": found}


def put(node: Any, identifier: str, value: str, mappings: Any) -> Any:
    """Return a part of a template with a value in place of a loop's identifier, and what is mapped to it."""
    if node == {"Ref": identifier}:
        return value
    if isinstance(node, dict):
        if isinstance(path := node.get("Fn::FindInMap"), list):
            name, first, second = (put(part, identifier, value, mappings) for part in path)
            return mappings[name][first][second]
        if isinstance(text := node.get("Fn::Sub"), str):
            return {"Fn::Sub": text.replace(f"${{{identifier}}}", value)}
        return {key: put(part, identifier, value, mappings) for key, part in node.items()}
    return [put(part, identifier, value, mappings) for part in node] if isinstance(node, list) else node


TEMPLATES = {path.stem: unrolled(cfn_yaml.load(str(path))) for path in sorted(INFRA.glob("*.yaml"))}


def resources(*types: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each resource of these types, or of any, with its name."""
    return [
        (name, resource)
        for template in TEMPLATES.values()
        for name, resource in template["Resources"].items()
        if not types or resource["Type"] in types
    ]


def the(name: str) -> dict[str, Any]:
    """Return the one resource of this name."""
    (found,) = (resource for known, resource in resources() if known == name)
    return found


def within(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a template, however deep."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from within(part)


def deployed(concern: str, **given: Any) -> dict[str, dict[str, Any]]:
    """Return the properties of a stack's resources by name, as the stage has them, each function worked out.

    `given` are parameters with other values than the stage's; loops are unrolled over the stage's.
    """
    values: dict[str, Any] = {**PSEUDO, **GIVEN, "Stage": STAGE, "AlertsTopicArn": "arn:topic", **QUEUE_NAMES}
    template = TEMPLATES[concern]
    values |= {
        name: parameter["Default"] for name, parameter in template["Parameters"].items() if "Default" in parameter
    }
    values |= given
    conditions = template.get("Conditions", {})
    values |= {name: worked_out(condition, {**values, **conditions}) for name, condition in conditions.items()}
    return {
        name: worked_out(resource["Properties"], values)
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or values[resource["Condition"]]
    }


def worked_out(node: Any, values: Mapping[str, Any]) -> Any:
    """Return a part of a template with its functions worked out. Raises KeyError for what no parameter says."""
    if isinstance(node, list):
        return [worked_out(part, values) for part in node]
    if not isinstance(node, dict):
        return node
    match [(key, worked_out(part, values)) for key, part in node.items()]:
        case [("Ref", name)]:
            return values[name]
        case [("Condition", name)]:
            return worked_out(values[name], values)
        case [("Fn::If", [name, then, otherwise])]:
            return then if values[name] else otherwise
        case [("Fn::Not", [fact])]:
            return not fact
        case [("Fn::And", facts)]:
            return all(facts)
        case [("Fn::Equals", [one, other])]:
            return one == other
        case [("Fn::Sub", str(text))]:
            return _filled(text, values)
        case [("Fn::Sub", [text, more])]:
            return _filled(text, {**values, **more})
        case [("Fn::Join", [between, parts])]:
            return between.join(parts)
        case [("Fn::Split", [between, text])]:
            return text.split(between)
        case [("Fn::Select", [index, parts])]:
            return parts[int(index)]
        case pairs:
            return dict(pairs)


def _filled(text: str, values: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{([\w:]+)\}", lambda found: str(values[found[1]]), text)


def _queue_names() -> dict[str, str]:
    """Return what the outputs of the queues' stack that are names of queues come to."""
    template = TEMPLATES["queues"]
    found = {}
    for output, told in template["Outputs"].items():
        if output.endswith("QueueName"):
            queue, attribute = told["Value"]["Fn::GetAtt"]
            found[output] = worked_out(template["Resources"][queue]["Properties"][attribute], {"Stage": STAGE})
    return found


QUEUE_NAMES = _queue_names()
