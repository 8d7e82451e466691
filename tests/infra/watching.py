"""What alarms, dashboards and saved queries look at, and whether it exists: what our code emits, and what AWS has."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from nightshift.project.triggers import ROUTES, name_of
from tests.infra.emitted import Metric
from tests.infra.templates import FUNCTIONS, QUEUE_NAMES, STAGE

DATABASE = "nightshift-prod-database"
QUEUES = frozenset(QUEUE_NAMES.values())
DEPLOYED = frozenset(name_of(function, STAGE) for function in [*FUNCTIONS, ROUTES])
# AWS's own metrics as it documents them: the one dimension, what it may be, and the statistics that mean something.
OF_AWS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ("QueueName", QUEUES, {"Maximum"}),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ("QueueName", QUEUES, {"Maximum"}),
    ("AWS/Lambda", "Invocations"): ("FunctionName", DEPLOYED, {"Sum"}),
    ("AWS/Lambda", "Errors"): ("FunctionName", DEPLOYED, {"Sum"}),
    ("AWS/Lambda", "Throttles"): ("FunctionName", DEPLOYED, {"Sum"}),
    ("AWS/Lambda", "Duration"): ("FunctionName", DEPLOYED, {"Maximum"}),
    ("AWS/RDS", "FreeStorageSpace"): ("DBInstanceIdentifier", {DATABASE}, {"Minimum"}),
    ("AWS/Lambda", "ConcurrentExecutions"): ("FunctionName", DEPLOYED, {"Maximum"}),
}
# Of our own, by their unit.
STATISTICS = {"Count": {"Sum"}, "Milliseconds": {"Maximum"}, "None": {"Minimum"}}
# What Logs Insights finds in every line, and in those that Lambda writes when an invocation ends.
FIELDS_OF_AWS = {"@timestamp", "@message", "@log"}
FIELDS_OF_REPORTS = FIELDS_OF_AWS | {"@type", "@duration", "@maxMemoryUsed", "@memorySize", "@initDuration"}
WORDS = {
    *("filter", "fields", "stats", "sort", "limit", "by", "as", "asc", "desc"),
    *("in", "and", "like", "ispresent", "count", "latest", "max"),
}

SEARCH = re.compile(r"SEARCH\('\{([\w/]+),([\w,]+)\} (.+)', '(\w+)', (\d+)\)")
TERM = re.compile(r'(NOT )?(\w+)=(?:"([^"]+)"|\(([^)]+)\))(?: |$)')


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A metric that something looks at; `keys` are its dimensions' names where `dimensions` has not all of them."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    statistic: str
    period: int
    unit: str | None = None
    keys: frozenset[str] = field(default=frozenset())

    def why_not(self, emitted: Iterable[Metric]) -> str | None:
        """Return why this metric never has a value; None where it has one."""
        if self.period % 60:
            return f"nothing is told every {self.period} s"
        if self.namespace.startswith("AWS/"):
            return self._why_not_of_aws()
        namesakes = [each for each in emitted if (each.namespace, each.name) == (self.namespace, self.name)]
        found = [each for each in namesakes if self._has_dimensions_of(each)]
        if not found:
            return f"nobody emits {self.namespace} {self.name} with {sorted(self.dimensions)}"
        (unit,) = {each.unit for each in found}
        if self.unit not in {None, unit}:
            return f"{self.name} is told in {unit}"
        return None if self.statistic in STATISTICS[unit] else f"{self.statistic} of {self.name} means nothing"

    def _has_dimensions_of(self, metric: Metric) -> bool:
        if not self.keys:
            return self.dimensions == metric.dimensions
        return self.dimensions <= metric.dimensions and self.keys == {name for name, _ in metric.dimensions}

    def _why_not_of_aws(self) -> str | None:
        dimension, values, statistics = OF_AWS[self.namespace, self.name]
        if [name for name, _ in self.dimensions] != [dimension]:
            return f"{self.name} has the dimension {dimension}"
        if not {value for _, value in self.dimensions} <= values:
            return f"there is no {dimension} of {sorted(self.dimensions)}"
        return None if self.statistic in statistics else f"{self.statistic} of {self.name} means nothing"


def watched_by(alarm: Mapping[str, Any]) -> Iterator[Watched]:
    """Yield the metrics of an alarm, worked out."""
    for each in alarm.get("Metrics", ()):
        if "MetricStat" in each:
            metric, stat = each["MetricStat"]["Metric"], each["MetricStat"]
            yield _of_alarm(metric, statistic=stat["Stat"], period=stat["Period"], unit=stat.get("Unit"))
    if "MetricName" in alarm:
        yield _of_alarm(alarm, statistic=alarm["Statistic"], period=alarm["Period"], unit=alarm.get("Unit"))


def _of_alarm(metric: Mapping[str, Any], *, statistic: str, period: int, unit: str | None) -> Watched:
    return Watched(
        namespace=metric["Namespace"],
        name=metric["MetricName"],
        dimensions=frozenset((each["Name"], each["Value"]) for each in metric["Dimensions"]),
        statistic=statistic,
        period=period,
        unit=unit,
    )


def shown_by(properties: Mapping[str, Any]) -> Iterator[Watched]:
    """Yield the metrics that a widget shows, of a search one for each way to satisfy it."""
    row: list[Any] = []
    for given in properties.get("metrics", ()):
        if isinstance(given[0], dict):
            yield from searched(given[0]["expression"])
            continue
        row = _whole([each for each in given if isinstance(each, str)], before=row)
        namespace, name, *rest = row
        dimensions = frozenset(zip(rest[::2], rest[1::2], strict=True))
        statistic, period = properties["stat"], properties["period"]
        yield Watched(namespace=namespace, name=name, dimensions=dimensions, statistic=statistic, period=period)


def _whole(row: list[str], *, before: list[str]) -> list[str]:
    if row[0] == "...":
        row = before[: len(before) - len(row) + 1] + row[1:]
    return [before[place] if each == "." else each for place, each in enumerate(row)]


def searched(expression: str) -> Iterator[Watched]:
    """Yield a metric for each way to satisfy a search: a name of a metric, and one value of each dimension."""
    parts = SEARCH.fullmatch(expression)
    assert parts is not None, expression
    namespace, keys, terms, statistic, period = parts.groups()
    assert TERM.sub("", terms) == "", f"{terms} is no search"
    chosen = {
        key: re.findall(r'"([^"]+)"', several) if several else [one]
        for negated, key, one, several in TERM.findall(terms)
        if not negated
    }
    names = chosen.pop("MetricName")
    for name, *values in product(names, *chosen.values()):
        yield Watched(
            namespace=namespace,
            name=name,
            dimensions=frozenset(zip(chosen, values, strict=True)),
            statistic=statistic,
            period=int(period),
            keys=frozenset(keys.split(",")),
        )


def fields_of(query: str) -> set[str]:
    """Return the fields that a query of Logs Insights names, without those that it makes itself."""
    code = re.sub(r'"[^"]*"|^#.*$', "", query, flags=re.MULTILINE)
    made = set(re.findall(r"\bas (\w+)", code))
    return set(re.findall(r"@?\b[a-zA-Z_]\w*", code)) - made - WORDS


def selects(query: str, line: Mapping[str, Any]) -> bool:
    """Return whether the filter of a query, its first command, takes a line."""
    command = re.sub(r"^#.*\n", "", query).split("\n|")[0].split(" | ")[0].removeprefix("filter ")
    if text := re.fullmatch(r'@message like "(.+)"', command.strip()):
        return text[1] in json.dumps(line)
    python = re.sub(r"ispresent\((\w+)\)", r'("\1" in line)', command)
    python = re.sub(r"(\w+) in \[", r'line.get("\1") in [', python)
    python = re.sub(r'(\w+) = "', r'line.get("\1") == "', python)
    return bool(eval(python, {"line": line}))
