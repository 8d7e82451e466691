"""What Lambda itself writes into a function's log: how an invocation ended, what it took, what killed it."""

import re

from nightshift.logs.entry import Entry, duration

# The last where nothing went wrong: the invocation's own report has its figure.
_NOISE = re.compile(r"(?:START|END) RequestId: |INIT_START |INIT_REPORT (?!.*\tStatus: )")
_REPORT = re.compile(r"(?:INIT_)?REPORT (?:RequestId: (?P<request_id>\S+))?")
_KEYS = "Duration|Init Duration|Memory Size|Max Memory Used|Status|Error Type"
_VALUE = re.compile(rf"(?:\t|REPORT )({_KEYS}): ([^\t\n]+?)(?: ms| MB)?\s*(?=\t|$)")
_TIMED_OUT = re.compile(r"\S+ (?P<request_id>[\w-]+) (?P<message>Task timed out after [\d.]+ seconds)")
_EXITED = re.compile(r"RequestId: (?P<request_id>\S+) (?P<message>(?:Error: |Process exited).+)")
# An error that nobody caught, and what Lambda's own handler of Python's logging writes.
_RAISED = re.compile(r"\[ERROR\] (?P<message>[^\t\r\n]+)(?P<below>.*)", re.S)
_LOGGED = re.compile(r"\[(?P<level>[A-Z]+)\]\t\S+\t(?P<request_id>\S*)\t(?P<message>[^\r\n]*)(?P<below>.*)", re.S)


def is_noise(text: str) -> bool:
    """Return whether Lambda says no more with a line than that an invocation begins or ends."""
    return _NOISE.match(text) is not None


def read(text: str) -> Entry | None:
    """Return the entry of a line that Lambda wrote, None where it is not one of those."""
    if report := _REPORT.match(text):
        return _report(text, report["request_id"])
    if killed := _TIMED_OUT.match(text) or _EXITED.match(text):
        return Entry(level="ERROR", message=killed["message"], fields={"request_id": killed["request_id"]})
    if logged := _LOGGED.match(text):
        return Entry(level=logged["level"], message=logged["message"], below=logged["below"])
    if raised := _RAISED.match(text):
        return Entry(level="ERROR", message=raised["message"], below=raised["below"])
    return None


def _report(text: str, request_id: str | None) -> Entry:
    values = dict(_VALUE.findall(text))
    told = [f"ended after {duration(values['Duration'])}"] if "Duration" in values else []
    if "Max Memory Used" in values:
        told.append(f"{values['Max Memory Used']} of {values.get('Memory Size')} MB used")
    if "Init Duration" in values:
        told.append(f"began cold in {duration(values['Init Duration'])}")
    ended = values.get("Status", "success")
    told += [] if ended == "success" else [" ".join(filter(None, (ended, values.get("Error Type"))))]
    return Entry(
        level="REPORT" if ended == "success" else "ERROR",
        message=", ".join(told),
        fields={"request_id": request_id} if request_id else {},
    )
