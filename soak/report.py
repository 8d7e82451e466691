"""What a soak tells: what failed on the way, what was looked at, and what was broken; in words and in JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

PROMISES = (
    "Each fire that was due has one run, or a row that says why there is none.",
    "Each run that began has ended, and one that did not succeed says why.",
    "Each job that the application was told was accepted is completed, with one mail, or dead, with a reason.",
    "Nobody has two digests of one day; whoever the ledger says was sent one has it.",
    "Each run has made one backup at most, and each backup that is listed restores, table by table, as it was.",
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A soak that has ended; `broken` is each promise that was not kept, with how, and its story."""

    date: str
    machine: str
    seed: int
    days: int
    seconds: int
    invocations: int
    log_lines: int
    failures: Mapping[str, int]
    found: Mapping[str, Mapping[str, int]]
    broken: Sequence[tuple[str, str, Sequence[str]]]


def as_json(report: Report) -> dict[str, object]:
    """Return what JSON can tell of it."""
    return asdict(report)


def as_markdown(report: Report) -> Iterator[str]:
    """Yield the lines of a page."""
    verdict = "every promise was kept" if not report.broken else f"{len(report.broken)} promises were broken"
    yield "# The last soak"
    yield ""
    yield (
        f"`make soak`, {report.date}, {report.machine}: {report.days} days in {report.seconds} s, seed {report.seed}, "
        f"{report.invocations:,} invocations, {report.log_lines:,} lines of log; **{verdict}**."
    )
    yield ""
    yield "| what failed | times |"
    yield "|---|---:|"
    yield from (f"| {name} | {count:,} |" for name, count in report.failures.items())
    yield ""
    yield "| looked at | what became of it |"
    yield "|---|---|"
    for name, counts in report.found.items():
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items(), key=lambda pair: -pair[1]))
        yield f"| {name} | {told} |"
    yield ""
    yield from (f"* {promise}" for promise in PROMISES)
    for promise, how, story in report.broken:
        yield ""
        yield f"**Broken: {promise}.** {how}"
        if story:
            yield ""
            yield "```text"
            yield from story
            yield "```"


def failures(
    *,
    rules: tuple[int, int],
    troubles: Mapping[tuple[str, str], int],
    kills: Mapping[str, int],
    processes: Counter[str],
    pauses: int,
) -> dict[str, int]:
    """Return what failed, in words: fires lost and doubled, calls by service and kind, and what was killed."""
    lost, doubled = rules
    told = {"fires that never came": lost, "fires that came twice": doubled}
    told |= {f"{name} killed, and started again": number for name, number in kills.items()}
    told["functions killed in mid-run"] = processes.total()
    told |= {f"calls to {service}, {kind}": number for (service, kind), number in sorted(troubles.items())}
    return told | {"pauses by the operator": pauses}
