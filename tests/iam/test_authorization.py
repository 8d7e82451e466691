"""Every function's policy, as it is deployed, held against what AWS says of each action."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from nightshift.project import configuration
from nightshift.project.policies import listed
from tests.iam.authorization import dependents_of, exists, keys_of, may_be_one, required_by, resources_of
from tests.project.test_configuration import DEV, OWN, QUEUES, ROLE, ROOT, SECRET

# Everything that a stage may have: all secrets, traces, the page to unsubscribe, a database that RDS keeps.
SETTINGS = {
    **{
        name: f"{SECRET}{name}"
        for name in ("DATABASE_URL", "REDIS_URL", "BACKUP_KEY", "EXTERNAL_SYNC_TOKEN", "DAILY_DIGEST_PING")
    },
    "UNSUBSCRIBE_ROUTE": "on",
}
TEMPLATES = sorted(path.stem for path in (ROOT / ".chalice" / "policies").glob("*.json"))
# Why "*" stands where IAM knows resources.
EVERYTHING = {
    "ec2:CreateNetworkInterface": "Lambda asks for it on everything, before there is an interface.",
    "ec2:DeleteNetworkInterface": "Lambda makes the interface's name.",
    "rds:DescribeExportTasks": "An export is asked after by its own name, for which IAM has no kind.",
}
# What an action depends on only where it is asked for what we do not ask for.
NOT_NEEDED = {"ec2:CreateTags": "Lambda's interfaces have no tags."}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The statements of each function, for a database of either kind."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in TEMPLATES}
    for database in ("instance:shop", "cluster:shop"):
        project = tmp_path_factory.mktemp("project")
        shutil.copytree(ROOT / ".chalice" / "policies", project / ".chalice" / "policies")
        shutil.copy(ROOT / "app.py", project)
        whole = configuration.read(ROOT) | {"xray": True}
        whole["stages"]["dev"]["environment_variables"] |= SETTINGS | {"BACKUP_RDS": database}
        (project / ".chalice" / "config.json").write_text(json.dumps(whole))
        network = {name: OWN[name] for name in ("SubnetIds", "SecurityGroupIds")}
        configuration.write(project, DEV, QUEUES | network | {"BackupExportRoleArn": ROLE})
        for name, statements in found.items():
            policy = json.loads((project / ".chalice" / f"policy-dev-{name}.json").read_text())
            statements += policy["Statement"]
    return found


def permissions(statements: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for statement in statements:
        for action in statement["Action"]:
            for resource in listed(statement["Resource"]):
                yield action, resource


def is_done_to(action: str, resource: str) -> bool:
    kinds = resources_of(action)
    if resource == "*":
        return not kinds or action in EVERYTHING
    return any(may_be_one(pattern, resource) for pattern in kinds.values())


@pytest.mark.parametrize("function", TEMPLATES)
def test_iam_knows_every_action_of_a_policy(rendered: dict[str, list[dict[str, Any]]], function: str) -> None:
    assert [action for action, _ in permissions(rendered[function]) if not exists(action)] == []


@pytest.mark.parametrize("function", TEMPLATES)
def test_every_action_is_given_on_resources_that_it_can_be_done_to(
    rendered: dict[str, list[dict[str, Any]]], function: str
) -> None:
    given = set(permissions(rendered[function]))
    fitting = {(action, resource) for action, resource in given if is_done_to(action, resource)}
    assert {action for action, _ in given} == {action for action, _ in fitting}
    assert {resource for _, resource in given} == {resource for _, resource in fitting}


@pytest.mark.parametrize("function", TEMPLATES)
def test_an_action_is_given_on_each_kind_of_resource_that_it_needs(
    rendered: dict[str, list[dict[str, Any]]], function: str
) -> None:
    given = list(permissions(rendered[function]))
    lacking = {
        (action, kind)
        for action in {action for action, _ in given} - EVERYTHING.keys()
        for kind in required_by(action)
        if not any(may_be_one(resources_of(action)[kind], resource) for other, resource in given if other == action)
    }
    assert lacking == set()


@pytest.mark.parametrize("function", TEMPLATES)
def test_what_an_action_depends_on_is_given_too(rendered: dict[str, list[dict[str, Any]]], function: str) -> None:
    given = {action for action, _ in permissions(rendered[function])}
    assert {other for action in given for other in dependents_of(action)} - given - NOT_NEEDED.keys() == set()


@pytest.mark.parametrize("function", TEMPLATES)
def test_a_condition_asks_for_keys_that_each_of_its_actions_has(
    rendered: dict[str, list[dict[str, Any]]], function: str
) -> None:
    unknown = {
        (action, key)
        for statement in rendered[function]
        for keys in statement.get("Condition", {}).values()
        for key in keys
        for action in statement["Action"]
        if key not in keys_of(action)
    }
    assert unknown == set()
