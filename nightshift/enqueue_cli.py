"""`nightshift enqueue`: put a job on the queue by hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nightshift.options import AsJson, JobType, StageName
from nightshift.terminal import print_json, print_lines, sentences
from nightshift.waiting import ask


def enqueue(
    type_: JobType,
    data: Annotated[str, typer.Option(help="A JSON object, @FILE for that of a file, or - for standard input.")] = "{}",
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="From when on it may begin; without a zone, in UTC.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key: while a job of this type has it, no other may.")
    ] = None,
    priority: Annotated[bool, typer.Option("--priority", help="Put it on the priority queue.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Enqueue a job, as the application does, and print its id.

    Example: nightshift enqueue send_email --data @mail.json --run-at 2026-12-01T09:00 --key welcome-7 --stage prod
    """
    from zoneinfo import ZoneInfo

    from chalicelib.queue.message import decode_data
    from nightshift.moment import read_moment

    with sentences():
        moment = None if run_at is None else read_moment(run_at, ZoneInfo("UTC")).isoformat()
        # What is empty, as a shell's variable that was never set, is refused there.
        answer = ask(
            stage,
            "jobs.enqueue",
            type=type_,
            data=decode_data(_text_of(data)),
            run_at=moment,
            idempotency_key=key,
            queue="priority" if priority else "work",
        )
        if as_json:
            print_json(answer)
        elif answer["is_new"]:
            print_lines([f"Enqueued {answer['id']}."])
        else:
            print_lines([f"Nothing is enqueued: job {answer['id']} has this key already."])


def _text_of(data: str) -> str:
    if data != "-" and not data.startswith("@"):
        return data
    called = "standard input" if data == "-" else data[1:]
    try:
        return (sys.stdin.buffer.read() if data == "-" else Path(called).read_bytes()).decode()
    except OSError as error:
        raise ValueError(f"{called} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{called} is no text in UTF-8: {error}") from error
