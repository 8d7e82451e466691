"""The example programs put jobs on the queue, whatever SQS refuses at first, and say what it refused to the end."""

import json
import os
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chalicelib.queue.message import decode
from nightshift.local.aws import LocalAws
from nightshift.local.environment import local_environment
from nightshift.local.servers import serving
from tests.e2e.clients import CLIENTS, arrived, prepare

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def messages(count: int, *, text: str = "Grüße\u2028aus dem Laden") -> list[str]:
    return [
        json.dumps({"type": "send_email", "data": {"n": n, "text": text}}, ensure_ascii=False) for n in range(count)
    ]


class Counterpart(ThreadingHTTPServer):
    """SQS as the programs see it: the emulator, but for the entries of a batch that `refuses` picks."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = endpoint
        self.calls: list[list[str]] = []
        self.attempts: Counter[str] = Counter()

    def refuses(self, body: str, attempt: int) -> bool:
        return False

    def send_batch(self, call: dict[str, Any], forward: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        entries = call["Entries"]
        self.calls.append([entry["MessageBody"] for entry in entries])
        self.attempts.update(self.calls[-1])
        refused = [e for e in entries if self.refuses(e["MessageBody"], self.attempts[e["MessageBody"]])]
        taken = [entry for entry in entries if entry not in refused]
        answer = forward(call | {"Entries": taken}) if taken else {"Successful": []}
        if refused:
            answer["Failed"] = [{"Id": e["Id"], "Code": "InternalError", "SenderFault": False} for e in refused]
        return answer


class _Handler(BaseHTTPRequestHandler):
    server: Counterpart
    # Whole answers at once: Go's SDK, as Debian has it, may drop one that comes in parts (aws/aws-sdk-go-v2#2737).
    wbufsize = -1

    def do_POST(self) -> None:
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        batch = self.headers["X-Amz-Target"] == "AmazonSQS.SendMessageBatch"
        answer = self.server.send_batch(call, self.forward) if batch else self.forward(call)
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def forward(self, call: dict[str, Any]) -> dict[str, Any]:
        headers = {name: self.headers[name] for name in ("Content-Type", "X-Amz-Target", "Authorization")}
        request = urllib.request.Request(self.server.endpoint + self.path, json.dumps(call).encode(), headers)
        with urllib.request.urlopen(request) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def sqs(aws: LocalAws) -> Iterator[Counterpart]:
    server = Counterpart(aws.endpoint)
    with serving(server):
        yield server


@pytest.fixture(scope="session", params=list(CLIENTS))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs each language's program in turn."""
    return prepare(CLIENTS, request.param, tmp_path_factory.getbasetemp())


@pytest.fixture
def run(program: list[str], sqs: Counterpart, tmp_path: Path) -> Run:
    """Run the program with arguments, and lines as its standard input."""
    environment = local_environment(os.environ, endpoint=f"http://127.0.0.1:{sqs.server_port}", folder=tmp_path)

    def run(*arguments: str, lines: list[str]) -> "subprocess.CompletedProcess[str]":
        text = "".join(f"{line}\n" for line in lines)
        return subprocess.run(
            [*program, *arguments],
            env=environment,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    return run


def test_called_with_one_it_puts_one_valid_message_on_the_queue(run: Run, aws: LocalAws) -> None:
    done = run("one", lines=[])

    assert done.returncode == 0, done.stderr
    (body,) = arrived(aws)
    assert decode(body).type == "send_email"


def test_lines_arrive_once_each_ten_a_call(run: Run, sqs: Counterpart, aws: LocalAws) -> None:
    done = run(lines=messages(23))

    assert done.returncode == 0, done.stderr
    assert arrived(aws) == sorted(messages(23))
    assert [len(call) for call in sqs.calls] == [10, 10, 3]


def test_a_call_carries_256_kib_at_most(run: Run, sqs: Counterpart, aws: LocalAws) -> None:
    large = messages(7, text="ü" * 30 * 1024)

    done = run(lines=large)

    assert done.returncode == 0, done.stderr
    assert arrived(aws) == sorted(large)
    assert [len(call) for call in sqs.calls] == [4, 3]


def test_what_is_refused_at_first_is_sent_again_and_arrives_once(run: Run, sqs: Counterpart, aws: LocalAws) -> None:
    again = messages(23)[::4]
    sqs.refuses = lambda body, attempt: body in again and attempt <= 2  # type: ignore[method-assign]

    done = run(lines=messages(23))

    assert done.returncode == 0, done.stderr
    assert arrived(aws) == sorted(messages(23))
    assert sqs.attempts == {body: 3 if body in again else 1 for body in messages(23)}


def test_what_is_refused_four_times_is_counted_as_an_error_and_the_rest_arrives(
    run: Run, sqs: Counterpart, aws: LocalAws
) -> None:
    hopeless = messages(23)[7:9]
    sqs.refuses = lambda body, attempt: body in hopeless  # type: ignore[method-assign]

    done = run(lines=messages(23))

    assert done.returncode != 0
    assert "2 of 23 messages" in done.stderr
    assert arrived(aws) == sorted(set(messages(23)) - set(hopeless))
    assert sqs.attempts == {body: 4 if body in hopeless else 1 for body in messages(23)}
