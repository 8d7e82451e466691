"""A stage whose functions are there, on the emulator, and do nothing."""

import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, PRIORITY_QUEUE, QUEUE, REGION
from tests.shell import Shell, reaching

# By function: its queue, how many batches at once are taken from that, and how many are reserved.
WORKERS = {"work": (QUEUE, 5, 5), "work_priority": (PRIORITY_QUEUE, 2, 2)}


def deploy_workers(aws: LocalAws, *, stage: str = "prod") -> None:
    """Make the functions of both workers, with their triggers."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = aws.client("iam").create_role(RoleName="nightshift", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "")
    awslambda = aws.client("lambda")
    for function, (queue, limit, reserved) in WORKERS.items():
        name = f"nightshift-{stage}-{function}"
        awslambda.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role,
            Handler=f"app.{function}",
            Code={"ZipFile": package.getvalue()},
        )
        awslambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
        awslambda.create_event_source_mapping(
            FunctionName=name,
            EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
            ScalingConfig={"MaximumConcurrency": limit},
        )


@contextmanager
def answering(aws: LocalAws, answers: Mapping[str, Any]) -> Iterator[tuple[Shell, list[dict[str, Any]]]]:
    """Give a shell in which `operate` or `look` answers so, and the emulator all else; and what was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.endswith(("-operate/invocations", "-look/invocations")):
                asked.append(json.loads(body))
                self.answer(200, {}, json.dumps(answers[asked[-1]["command"]]).encode())
                return
            request = urllib.request.Request(aws.endpoint + self.path, data=body or None, method=self.command)
            for name, value in self.headers.items():
                request.add_header(name, value)
            try:
                with urllib.request.urlopen(request) as found:
                    self.answer(found.status, found.headers, found.read())
            except urllib.error.HTTPError as refusal:
                self.answer(refusal.code, refusal.headers, refusal.read())

        do_GET = do_POST = do_PUT = forward  # noqa: N815 (the library's names)

        def answer(self, status: int, headers: Any, body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower().startswith(("content-type", "x-amz")):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with reaching(Handler) as shell:
        yield shell, asked
