"""Each function's policy allows what the function calls, and nothing more."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import app
from chalicelib import context as context_module
from chalicelib import operations, secrets
from chalicelib.errors import BatchFailedError
from nightshift.deploy import policies
from tests.world import World

FOLDER = Path(__file__).parent.parent / ".chalice" / "policies"
FUNCTIONS = ("daily_digest", "operate", "work")

# What IAM asks for when an operation is called, where the names differ.
ACTIONS = {
    "SQS.SendMessageBatch": {"sqs:SendMessage"},
    "SQS.DeleteMessageBatch": {"sqs:DeleteMessage"},
    # SES asks for the second where the content is raw.
    "SESv2.SendEmail": {"ses:SendEmail", "ses:SendRawEmail"},
    "SESv2.GetAccount": {"ses:GetAccount"},
    "Secrets Manager.GetSecretValue": {"secretsmanager:GetSecretValue"},
}
# What Lambda itself does in the function's name: logs, network interfaces, and taking messages for the worker.
BY_LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
}
TAKING = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
# Secrets Manager decrypts with the caller's permission.
DECRYPTING = {"kms:Decrypt"}
# IAM knows no resources for these.
WITHOUT_RESOURCES = {"ses:GetAccount"} | {action for action in BY_LAMBDA if action.startswith("ec2:")}


def statements(function: str) -> list[dict[str, Any]]:
    policy: dict[str, Any] = json.loads((FOLDER / f"{function}.json").read_text())
    return list(policy["Statement"])


def allowed(function: str) -> set[str]:
    return {action for statement in statements(function) for action in statement["Action"]}


@contextmanager
def recorded() -> Iterator[set[str]]:
    """Collect the IAM actions of every call that the functions' clients make."""
    actions: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        name = f"{model.service_model.service_id}.{model.name}"
        actions.update(ACTIONS.get(name, {f"{model.service_model.service_name}:{model.name}"}))

    clients = [*(context_module.client(service) for service in ("sqs", "sesv2", "s3")), secrets._client()]
    for client in clients:
        client.meta.events.register("before-call", note)
    try:
        yield actions
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", note)


@pytest.fixture
def referring(world: World) -> Iterator[World]:
    """A deployment with two readers, whose secrets are references, and whose pace is the account's."""
    manager, settings = world.aws.client("secretsmanager"), world.settings
    world.add_users(2)
    world.add_posts("Hello")
    secrets.forget()
    context_module._account_of.cache_clear()
    world.configure(
        database_url=manager.create_secret(Name="url", SecretString=settings.database_url)["ARN"],
        unsubscribe_secrets=manager.create_secret(Name="u", SecretString=settings.unsubscribe_secrets)["ARN"],
    )
    yield world
    world.context().database.engine.dispose()
    secrets.forget()


def fire(world: World) -> None:
    world.fire()


def work(world: World) -> None:
    messages = world.receive()
    world.configure(mail_rate=None)
    # The emulator does not tell the account's rate, so the job fails at just that call.
    with pytest.raises(BatchFailedError):
        world.work(messages)
    world.configure(mail_rate=1.0, mail_workers=1)
    # Time for one mail of the two: the rest is handed on; and a message that is hopeless is buried.
    world.work([messages[0], {**messages[0], "Body": "nonsense"}], seconds=45.5)


def operate(world: World) -> None:
    operations.operate({"command": "check"}, world.context())


@pytest.mark.parametrize(("function", "use"), [("daily_digest", fire), ("work", work), ("operate", operate)])
def test_a_policy_allows_what_its_function_calls_and_nothing_more(
    referring: World, function: str, use: Callable[[World], None]
) -> None:
    if function == "work":
        referring.fire()
    # What an earlier function of this process has fetched would not be called for again.
    secrets.forget()
    with recorded() as called:
        use(referring)
    taking = TAKING if function == "work" else set()
    assert allowed(function) - BY_LAMBDA - DECRYPTING - taking == called - taking


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_resource_is_named_wherever_iam_can_name_one(function: str) -> None:
    for statement in statements(function):
        if "*" in statement["Resource"]:
            assert (statement["Resource"] == "*" and set(statement["Action"]) <= WITHOUT_RESOURCES) or (
                statement["Resource"].endswith(":*") and ":log-group:/aws/lambda/" in statement["Resource"]
            )
        assert not any("*" in action for action in statement["Action"])


def test_every_function_has_a_policy() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(FUNCTIONS) == set(app.app.handler_map)


VALUES = {"Partition": "aws", "Region": "eu-west-1", "Account": "1", "Queue": "arn:q", "Secrets": ["arn:s"]}


def written(tmp_path: Path, *resources: Any) -> Path:
    statements = [{"Sid": f"S{n}", "Action": ["a:b"], "Resource": resource} for n, resource in enumerate(resources)]
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return path


def test_placeholders_become_the_stages_own_arns(tmp_path: Path) -> None:
    template = written(tmp_path, "arn:${Partition}:logs:${Region}:${Account}:x", ["${Queue}", "${Secrets}"])
    rendered = policies.render(template, VALUES)["Statement"]
    assert [statement["Resource"] for statement in rendered] == ["arn:aws:logs:eu-west-1:1:x", ["arn:q", "arn:s"]]


def test_a_statement_about_nothing_is_left_out(tmp_path: Path) -> None:
    assert policies.render(written(tmp_path, "${Secrets}"), {"Secrets": []})["Statement"] == []


def test_a_placeholder_without_a_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no value for \$\{Queue\}"):
        policies.render(written(tmp_path, "${Queue}"), {})
