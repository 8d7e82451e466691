"""What a soak tells: how it is done, what failed on the way, what was looked at, and what was broken."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scale.document import fill


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


def as_markdown(report: Report) -> Iterator[str]:
    """Yield what a page tells of it, line by line."""
    verdict = "every promise was kept" if not report.broken else f"{len(report.broken)} promises were broken"
    yield (
        f"{report.date}, {report.machine}: {report.days} days in {report.seconds} s, seed {report.seed}, "
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
    for promise, how, story in report.broken:
        yield ""
        yield f"**Broken: {promise}.** {how}"
        if story:
            yield ""
            yield "```text"
            yield from story
            yield "```"


def tell(reports: Sequence[Report]) -> str:
    """Return what a page tells of a soak on one server after the other."""
    return "\n\n".join("\n".join(as_markdown(each)) for each in reports)


def write(reports: Sequence[Report], folder: Path) -> None:
    """Write soak.json, one report a server, and into its place in soak.md what that tells of the last soak."""
    page = folder / "soak.md"
    told = {"last": tell(reports)}
    page.write_text(fill(page.read_text(encoding="utf-8"), told, mark="soak"), encoding="utf-8")
    (folder / "soak.json").write_text(json.dumps([asdict(each) for each in reports], indent=2) + "\n", encoding="utf-8")


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
