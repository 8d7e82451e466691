"""The status as a terminal shows it: compact, whole when piped, folded where the window is narrow."""

from collections.abc import Iterator
from textwrap import wrap

from rich.text import Text

from chalicelib.pauses import ALL_JOBS
from chalicelib.status.days import Day
from chalicelib.status.queue import QueueStatus
from chalicelib.status.status import Status
from chalicelib.status.tasks import TaskStatus
from chalicelib.status.words import at, between, some, took
from nightshift.terminal import plain

# From these many columns on a strip of every day has room, and one line a task.
WIDE, BROAD = 112, 82
FEW, MOST_DEAD, LONG = 10, 5, 300
MARKS = {"succeeded": "■", "skipped": "▪", "running": "▶", "missed": "□", "failed": "F", "dead": "D", "none": "·"}
STYLES = {
    "succeeded": "green",
    "skipped": "dim",
    "running": "blue",
    "missed": "yellow",
    "paused": "yellow",
    "failed": "bold yellow",
    "dead": "bold red",
    "none": "dim",
}
LABEL = 10


def lines(status: Status, *, width: int | None) -> Iterator[Text]:
    """Yield the lines of a status for a window of so many columns; None is for whatever reads a line as a whole."""
    now = status.read_at
    sign, style = ("✓", "bold green") if status.is_well else ("✗", "bold red")
    yield Text(f"{sign} {plain(status.headline)}", style)
    yield Text(f"  {plain(status.service)}, {at(now, now=now)} UTC", "dim")
    for number, finding in enumerate(status.findings, start=1):
        reason = f": {plain(finding.reason)[:LONG]}" if finding.reason else ""
        told = f"{plain(finding.subject)} {plain(finding.matter)}{reason}"
        yield from _labelled(f"{number:3} ", told, width=width)
    yield Text()
    yield from _tasks(status, width=width)
    yield Text()
    yield from _queue(status.queue, status)
    yield Text()
    for label, told in _rest(status):
        yield from _labelled(f"{label:{LABEL}}", told, width=width)


def _tasks(status: Status, *, width: int | None) -> Iterator[Text]:
    shown = len(status.tasks[0].days) if status.tasks and (width is None or width >= WIDE) else FEW
    names = max([4, *(len(plain(task.name)) for task in status.tasks)])
    is_broad = width is None or width >= BROAD
    if is_broad:
        yield Text(f"{'task':{names}}  {f'{shown} days':{shown}}  {'took':>10}  {'latest':20}  next", "dim")
    for task in status.tasks:
        first = Text(f"{plain(task.name):{names}}  ")
        days = _strip(task.days[-shown:])
        duration = took(task.durations[-1]) if task.durations else "–"
        if is_broad:
            yield first.append_text(days).append(f"  {duration:>10}  ").append_text(_ends(task, status))
        else:
            yield first.append_text(_ends(task, status))
            yield Text("  ").append_text(days).append(f"  {duration}")


def _strip(days: tuple[Day, ...]) -> Text:
    return Text.assemble(*((MARKS[day.status], STYLES[day.status]) for day in days))


def _ends(task: TaskStatus, status: Status) -> Text:
    now, run = status.read_at, task.latest
    word = run.status if run else "has not run"
    ago = f" {between(run.scheduled_for, now)} ago" if run else ""
    text = Text.assemble((plain(word), STYLES.get(word, "")), f"{ago:{max(20 - len(word), 0)}}  ")
    if task.pause:
        return text.append("paused", STYLES["paused"])
    return text.append(at(task.fires[0], now=now) if task.fires else plain(task.schedule))


def _queue(queue: QueueStatus, status: Status) -> Iterator[Text]:
    columns = ("due", "paused", "in work", "later", "dead", "oldest")
    names = max([LABEL, *(len(plain(depth.queue)) + 2 for depth in queue.depths)])
    yield Text(f"{'queue':{names}}{''.join(f'{column:>9}' for column in columns)}", "dim")
    for depth in queue.depths:
        line = Text(f"{plain(depth.queue):{names}}")
        for number in (depth.waiting, depth.held_back, depth.in_work, depth.later):
            line.append(f"{number:>9,}", "" if number else "dim")
        line.append(f"{depth.dead:>9,}", STYLES["dead"] if depth.dead else "dim")
        oldest = between(depth.oldest_due_at, status.read_at) if depth.oldest_due_at else "–"
        yield line.append(f"{oldest:>9}")


def _rest(status: Status) -> Iterator[tuple[str, str]]:
    now = status.read_at
    for run in status.running:
        yield "running", f"{plain(run.task)} for {between(run.started_at, now)}, attempt {run.attempt}"
    for job in status.queue.dead[:MOST_DEAD]:
        reason = plain(job.error or "nobody recorded why")[:LONG]
        yield "dead", f"{plain(job.id)} {plain(job.type)}, {some(job.attempts, 'attempt')}: {reason}"
    if status.queue.dead_count > MOST_DEAD:
        yield "", f"{some(status.queue.dead_count, 'dead job')} in all: nightshift jobs list"
    if newest := status.backups.verified:
        yield (
            "backup",
            f"of {at(newest.taken_at, now=now)}, {between(newest.taken_at, now)} ago, is the newest verified",
        )
    else:
        yield "backup", "none is verified"
    for pause in status.pauses:
        is_type = pause.kind == "job" and pause.name != ALL_JOBS
        name = f"jobs of {pause.name}" if is_type else pause.subject
        yield "paused", f"{plain(name)} since {at(pause.paused_at, now=now)}: {plain(pause.reason)[:LONG]}"


def _labelled(label: str, text: str, *, width: int | None) -> Iterator[Text]:
    folded = [text] if width is None else wrap(text, max(width - len(label), 20)) or [""]
    for number, part in enumerate(folded):
        yield Text.assemble((label if number == 0 else " " * len(label), "dim"), part)
