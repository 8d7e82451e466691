"""ministack, the AWS emulator that runs deployed Lambda code, as a temporary server with its own packages."""

# ruff: noqa: S101, S603 (its programs and arguments are our own)
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from nightshift.local.servers import free_port

LIMIT_SECONDS = 60

# What Lambda's runtimes provide to functions. The emulator dictates the version of botocore.
RUNTIME = """
boto3==1.43.106 botocore==1.43.106 jmespath==1.1.0 python-dateutil==2.9.0.post0 s3transfer==0.19.3 six==1.17.0
urllib3==2.8.0
"""
EMULATOR = """
ministack==1.5.33 annotated-types==0.8.0 attrs==26.1.0 aws-sam-translator==1.115.0 defusedxml==0.7.1
graphql-core==3.2.12 h11==0.16.0 h2==4.4.1 hpack==4.2.0 Hypercorn==0.18.0 hyperframe==6.1.0 jsonata-python==0.7.1
jsonschema==4.26.0 jsonschema-specifications==2025.9.1 priority==2.0.0 pydantic==2.13.5 pydantic_core==2.46.5
PyYAML==6.0.4 referencing==0.37.0 rpds-py==2026.9.1 typing-inspection==0.4.5 typing_extensions==4.16.0 wsproto==1.3.2
"""
PROGRAM = Path(__file__).with_name("ministack_program.py")


def emulator_python(folder: Path) -> Path:
    """Return the interpreter of the emulator's virtual environment in the folder; create it if needed.

    It also runs the functions, whatever runtime they were deployed for, so it has the version that deploys them.
    """
    environment, contents = folder.absolute() / "venv", f"{sys.version}\n{RUNTIME}{EMULATOR}"
    python, stamp = environment / "bin" / "python", environment / ".installed"
    folder.mkdir(parents=True, exist_ok=True)
    # Parallel test processes call this at the same time.
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != contents:
            _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(environment)])
            pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "-q", "--disable-pip-version-check"]
            _run([*pip, "--no-deps", *RUNTIME.split()])
            # Separate, so that functions cannot import packages that they do not ship.
            _run([*pip, "--no-deps", f"--target={environment / 'emulator'}", *EMULATOR.split()])
            stamp.write_text(contents)
    return python


@contextmanager
def ministack(folder: Path, *, python: Path) -> Iterator[str]:
    """Run the emulator with its files in the folder, on the interpreter of `emulator_python`, and yield its URL."""
    port, token = free_port(), uuid.uuid4().hex
    temporary, log = folder / "tmp", folder / "ministack.log"
    temporary.mkdir(parents=True)
    environment = {  # Functions inherit it.
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(temporary),
        "TZ": "UTC",
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        # Its health check returns this value, by which we know our own process.
        "MINISTACK_EDITION": token,
    }
    arguments = [str(python), "-P", str(PROGRAM), str(python.parents[1] / "emulator")]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_healthy(process, port, token, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        _kill_group(process)
        shutil.rmtree(temporary, ignore_errors=True)


def _run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the emulator's virtual environment cannot be made:\n{done.stdout}{done.stderr}"


def _wait_until_healthy(process: "subprocess.Popen[bytes]", port: int, token: str, log: Path) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        assert process.poll() is None, f"the emulator ended immediately:\n{log.read_text()}"
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/_ministack/health")
                assert json.load(connection.getresponse())["edition"] == token, f"port {port} is another server's"
                return
        except (OSError, HTTPException):
            assert time.monotonic() < deadline, f"the emulator did not start:\n{log.read_text()}"
            time.sleep(0.05)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    # Functions are in its process group; one in the middle of a job would outlive the emulator.
    deadline = time.monotonic() + LIMIT_SECONDS
    with process:
        while time.monotonic() < deadline:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            process.poll()
            time.sleep(0.01)
    raise AssertionError(f"the emulator's process group {process.pid} does not end")
