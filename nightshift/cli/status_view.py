"""The status in a terminal: compact, wrapped in a narrow window, and one line per item when piped."""

from collections.abc import Iterator

from rich.text import Text

from chalicelib.core import pauses
from chalicelib.operate.status.queue import QueueStatus
from chalicelib.operate.status.status import Status
from chalicelib.operate.status.tasks import Day, TaskStatus
from chalicelib.operate.status.words import at, between, some, took
from nightshift.cli.output import labelled, plain

# The widths from which every day fits, and one line a task.
WIDE, BROAD = 112, 82
FEW_DAYS, MAX_DEAD, MAX_REASON = 10, 5, 300
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
LABEL, COLUMN = 10, 9


def lines(status: Status, *, width: int | None) -> Iterator[Text]:
    """Yield the lines of a status for a window of this width; None if the output is piped."""
    now = status.read_at
    sign, style = ("✓", "bold green") if status.is_well else ("✗", "bold red")
    yield from _labelled(f"{sign} ", plain(status.headline), width=width, styles=(style, style))
    yield from _labelled("  ", f"{plain(status.service)}, {at(now, now=now)} UTC", width=width, styles=("dim", "dim"))
    for number, finding in enumerate(status.findings, start=1):
        reason = f": {plain(finding.reason)[:MAX_REASON]}" if finding.reason else ""
        yield from _labelled(f"{number:3} ", f"{plain(finding.subject)} {plain(finding.matter)}{reason}", width=width)
    yield Text()
    yield from _tasks(status, width=width)
    yield Text()
    yield from _queue(status.queue, status, width=width)
    yield Text()
    for label, text in _other_lines(status):
        yield from _labelled(f"{label:{LABEL}}", text, width=width)


def _tasks(status: Status, *, width: int | None) -> Iterator[Text]:
    names = max([4, *(len(plain(task.name)) for task in status.tasks)])
    if width is not None and width < BROAD:
        yield from _narrow_tasks(status, names=names, width=width)
        return
    shown = len(status.tasks[0].days) if status.tasks and (width is None or width >= WIDE) else FEW_DAYS
    yield Text(f"{'task':{names}}  {f'{shown} days':{shown}}  {'took':>10}  {'latest':20}  next", "dim")
    for task in status.tasks:
        line = Text(f"{plain(task.name):{names}}  ").append_text(_strip(task.days[-shown:]))
        yield line.append(f"  {_took(task):>10}  ").append_text(_latest(task, status)).append_text(_next(task, status))


def _narrow_tasks(status: Status, *, names: int, width: int) -> Iterator[Text]:
    ends = [_latest(task, status).append_text(_next(task, status)) for task in status.tasks]
    fits = names + 2 + max((each.cell_len for each in ends), default=0) <= width
    for task, end in zip(status.tasks, ends, strict=True):
        name, strip = plain(task.name), Text("  ").append_text(_strip(task.days))
        if fits:
            yield Text(f"{name:{names}}  ").append_text(end)
            yield strip.append(f"  {_took(task)}")
        else:
            yield from (Text(name), strip, Text("  ").append_text(_latest(task, status)))
            when = ", next " if task.fires and not task.pause else ", "
            yield Text(f"  took {_took(task)}{when}").append_text(_next(task, status))


def _strip(days: tuple[Day, ...]) -> Text:
    return Text.assemble(*((MARKS[day.status], STYLES[day.status]) for day in days))


def _took(task: TaskStatus) -> str:
    return took(task.durations[-1]) if task.durations else "–"


def _latest(task: TaskStatus, status: Status) -> Text:
    run = task.latest
    word = run.status if run else "not run yet"
    ago = f" {between(run.scheduled_for, status.read_at)} ago" if run else ""
    return Text.assemble((plain(word), STYLES.get(word, "")), f"{ago:{max(20 - len(word), 0)}}  ")


def _next(task: TaskStatus, status: Status) -> Text:
    if task.pause:
        return Text("paused", STYLES["paused"])
    return Text(at(task.fires[0], now=status.read_at) if task.fires else plain(task.schedule))


def _queue(queue: QueueStatus, status: Status, *, width: int | None) -> Iterator[Text]:
    columns = ("due", "paused", "in work", "later", "dead", "oldest")
    names = max([LABEL, *(len(plain(depth.queue)) + 2 for depth in queue.depths)])
    is_table = width is None or names + COLUMN * len(columns) <= width
    if is_table:
        yield Text(f"{'queue':{names}}{''.join(f'{column:>{COLUMN}}' for column in columns)}", "dim")
    for depth in queue.depths:
        numbers = (depth.waiting, depth.held_back, depth.in_work, depth.later, depth.dead)
        oldest = between(depth.oldest_due_at, status.read_at) if depth.oldest_due_at else "–"
        if not is_table:
            counts = [f"{number:,} {column}" for number, column in zip(numbers, columns, strict=False)]
            yield from _labelled(f"{plain(depth.queue):{names}}", ", ".join([*counts, f"oldest {oldest}"]), width=width)
            continue
        line = Text(f"{plain(depth.queue):{names}}")
        for number in numbers[:-1]:
            line.append(f"{number:>{COLUMN},}", "" if number else "dim")
        line.append(f"{depth.dead:>{COLUMN},}", STYLES["dead"] if depth.dead else "dim")
        yield line.append(f"{oldest:>{COLUMN}}")


def _other_lines(status: Status) -> Iterator[tuple[str, str]]:
    now = status.read_at
    for run in status.running:
        yield "running", f"{plain(run.task)} for {between(run.started_at, now)}, attempt {run.attempt}"
    for job in status.queue.dead[:MAX_DEAD]:
        reason = plain(job.error or "no error recorded")[:MAX_REASON]
        yield "dead", f"{plain(job.id)} {plain(job.type)}, {some(job.attempts, 'attempt')}: {reason}"
    if status.queue.dead_count > MAX_DEAD:
        yield "", f"{some(status.queue.dead_count, 'dead job')} in total: nightshift jobs list"
    if backups := status.sections.get("backups"):
        newest = backups.verified
        ago = newest and f"newest verified: {at(newest.taken_at, now=now)}, {between(newest.taken_at, now)} ago"
        yield "backup", ago or "none verified"
    for pause in status.pauses:
        is_type = pause.kind == "job" and pause.name != pauses.ALL
        name = f"jobs of {pause.name}" if is_type else pause.subject
        yield "paused", f"{plain(name)} since {at(pause.paused_at, now=now)}: {plain(pause.reason)[:MAX_REASON]}"


def _labelled(label: str, text: str, *, width: int | None, styles: tuple[str, str] = ("dim", "")) -> Iterator[Text]:
    wrapped = [label + text] if width is None else labelled(label, [text], width=width)
    for number, line in enumerate(wrapped):
        shown = Text(line, styles[1])
        if number == 0:
            shown.stylize(styles[0], 0, len(label))
        yield shown
