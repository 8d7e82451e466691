"""A cloud on this machine: the emulator, a copy of the project, and the commands that a person would type there."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.loaders import Loader
from sqlalchemy import Engine, text

from nightshift.project import triggers

ROOT = Path(__file__).parent.parent.parent
ACCOUNT, REGION, STAGE = "123456789012", "us-east-1", "e2e"
SENDER = "digest@slow-harbour.example"
# Long, for a machine that is busy with something else.
WAIT_SECONDS = 180

WORKER_TIMEOUT = {"WorkerTimeoutSeconds": "60"}
# No saved queries, which the emulator does not have.
CONCERNS = ("storage", "secrets", "mail", "exports", "alarms", "dashboard")
STACKS = {"queues": WORKER_TIMEOUT, **{concern: {} for concern in CONCERNS}}
FUNCTIONS = [trigger.function for trigger in triggers.read(ROOT)]


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Where commands run, and what they talk to."""

    endpoint: str
    project: Path
    environment: Mapping[str, str]
    engine: Engine

    def client(self, service: str, *, key: str = ACCOUNT, secret: str = "any") -> Any:
        """Return a client of the emulator; its root is the account's own number."""
        session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret)
        return session.client(service, region_name=REGION, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def run(self, *command: str, given: str | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the virtual environment in the project's folder."""
        return subprocess.run(
            _command(command),
            cwd=self.project,
            env={**self.environment, **environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    @contextmanager
    def started(self, *command: str, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
        """Start a command likewise, which prints into a file, and end it at last."""
        with (
            output.open("wb") as file,
            subprocess.Popen(
                _command(command), cwd=self.project, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def deploy(self) -> str:
        """Run nightshift deploy and return what it printed."""
        done = self.run("nightshift", "deploy", "--stage", STAGE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def invoke(self, function: str, payload: object = None) -> Any:
        """Run chalice invoke and return the function's answer, or None with what it printed when it failed."""
        given = None if payload is None else json.dumps(payload)
        done = self.run("chalice", "invoke", "-n", function, "--stage", STAGE, given=given or "")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def mails(self) -> list[dict[str, Any]]:
        """Return what SES accepted."""
        with urllib.request.urlopen(f"{self.endpoint}/_ministack/ses/messages?account={ACCOUNT}") as answer:
            messages: list[dict[str, Any]] = json.load(answer)["messages"].get(ACCOUNT, [])
        return messages

    def queue_url(self, name: str) -> str:
        """Return the address of one of the stage's queues."""
        return str(self.client("sqs").get_queue_url(QueueName=f"nightshift-{STAGE}-{name}")["QueueUrl"])

    def query(self, statement: str, **parameters: object) -> list[Any]:
        """Run one statement on the database and return its rows."""
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    def set_environment(self, **variables: str) -> None:
        """Set environment variables of the stage, for the next deployment."""

        def change(configuration: dict[str, Any]) -> None:
            configuration["stages"][STAGE]["environment_variables"] |= variables

        _edit(self.project / ".chalice" / "config.json", change)

    def configuration(self) -> dict[str, Any]:
        """Return the stage of .chalice/config.json."""
        stage: dict[str, Any] = json.loads((self.project / ".chalice" / "config.json").read_text())["stages"][STAGE]
        return stage


def _command(words: Sequence[str]) -> list[str]:
    program, *arguments = words
    return [str(Path(sys.executable).with_name(program)), *arguments]


def until(is_so: Callable[[], bool], what: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something that happens by itself in the emulator has happened."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def name_of(function: str) -> str:
    """Return what a function of the stage is called."""
    return f"nightshift-{STAGE}-{function}"


@contextmanager
def function_settings(cloud: Cloud, function: str, **variables: str) -> Iterator[None]:
    """Set environment variables of a function for a while."""
    awslambda, name = cloud.client("lambda"), name_of(function)
    before = awslambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": before | variables})
    try:
        yield
    finally:
        awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": before})


@contextmanager
def rule_settings(cloud: Cloud, function: str, *, rate: str) -> Iterator[None]:
    """Let a function's rule fire at another rate for a while."""
    events, name = cloud.client("events"), f"{name_of(function)}-event"
    before = events.describe_rule(Name=name)["ScheduleExpression"]
    events.put_rule(Name=name, ScheduleExpression=rate)
    try:
        yield
    finally:
        events.put_rule(Name=name, ScheduleExpression=before)


def copy_project(folder: Path, *, database_url: str, redis_url: str) -> Path:
    """Copy what git would clone into the folder, with a stage for the emulator, and return where."""
    project = folder / "project with a space"
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).exists() and not name.startswith(("tests/", "docs/")):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, project / name)
    _edit(project / "infra" / "stages.json", lambda stages: stages.update({STAGE: STACKS}))
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MAIL_FROM": SENDER,
        "SITE_NAME": "Slow Harbour",
        "SITE_URL": "https://slow-harbour.example",
        "UNSUBSCRIBE_URL": "https://slow-harbour.example/unsubscribe",
        # Or what happens to fall due while the tests run would fire, or be made up for.
        **{f"{name.upper()}_SCHEDULE": "@yearly" for name in triggers.functions_of(triggers.read(ROOT), "task")},
    }
    functions = {name: {"lambda_timeout": 60} for name in FUNCTIONS}
    stage = {"environment_variables": settings, "lambda_functions": functions}
    _edit(project / ".chalice" / "config.json", lambda configuration: configuration["stages"].update({STAGE: stage}))
    return project


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2) + "\n")


def environment_of(endpoint: str, folder: Path) -> dict[str, str]:
    """Return the environment of a person whose AWS is the emulator."""
    return {
        **{name: value for name, value in os.environ.items() if name.startswith(("PATH", "PIP_"))},
        "HOME": str(folder),
        "COLUMNS": "300",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DATA_PATH": str(_quick_waiters(folder)),
        "NO_PROXY": "127.0.0.1",
    }


def _quick_waiters(folder: Path) -> Path:
    # Chalice and CloudFormation's clients ask every 5 to 30 seconds, and the emulator is done at once.
    models = folder / "models"
    for service in ("lambda", "cloudformation"):
        version = Loader().determine_latest_version(service, "waiters-2")
        waiters = Loader().load_service_model(service, "waiters-2", version)
        for waiter in waiters["waiters"].values():
            waiter["delay"], waiter["maxAttempts"] = 0.1, 600
        (models / service / version).mkdir(parents=True)
        (models / service / version / "waiters-2.json").write_text(json.dumps(waiters))
    return models
