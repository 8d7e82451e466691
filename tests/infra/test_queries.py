"""The saved queries: each asks all functions' logs, and for fields that lines really have."""

import re
from typing import Any

import pytest

from tests.infra.emitted import Emitted
from tests.infra.templates import GIVEN, INFRA, deployed
from tests.infra.watching import FIELDS_OF_AWS, FIELDS_OF_REPORTS, fields_of, selects

QUERIES = deployed("queries")
NO_ID = "0" * 32
every_query = pytest.mark.parametrize("name", QUERIES)


def selected(query: str, emitted: Emitted) -> list[dict[str, Any]]:
    """Return the lines that a query is about, that of a story with the id of a run put in."""
    return [line for line in emitted.lines if selects(query.replace(NO_ID, emitted.run_id.replace("-", "")), line)]


@every_query
def test_each_query_asks_the_log_of_every_function(name: str) -> None:
    assert QUERIES[name]["LogGroupNames"] == [f"/aws/lambda/{function}" for function in GIVEN["FunctionNames"]]
    assert QUERIES[name]["Name"].startswith("nightshift-prod/")


@every_query
def test_each_query_asks_for_fields_that_its_lines_have(name: str, emitted: Emitted) -> None:
    query = QUERIES[name]["QueryString"]
    if "@type" in query:
        # Lambda writes these lines.
        assert fields_of(query) <= FIELDS_OF_REPORTS
        return
    # A text may stand in any line.
    lines = emitted.lines if "@message" in query else selected(query, emitted)
    assert lines
    assert fields_of(query) <= {key for line in lines for key in line} | FIELDS_OF_AWS


@every_query
def test_each_text_that_a_query_looks_for_is_written(name: str, emitted: Emitted) -> None:
    query = QUERIES[name]["QueryString"]
    for field, texts in re.findall(r"(\w+) in \[([^\]]+)\]", query):
        assert set(re.findall(r'"([^"]+)"', texts)) <= {line.get(field) for line in emitted.lines}


def test_a_field_or_a_text_that_nobody_writes_is_noticed(emitted: Emitted) -> None:
    assert fields_of('filter outcome = "dead" | stats max(duration) as most by task | sort most desc') == {
        "outcome",
        "duration",
        "task",
    }
    assert not selected('filter outcome = "died" and ispresent(task)', emitted)
    assert not selected('filter outcome = "dead" and ispresent(tusk)', emitted)


def test_the_story_of_a_run_goes_on_in_the_jobs_that_came_of_it(emitted: Emitted) -> None:
    query = QUERIES["Story"]["QueryString"]
    assert NO_ID in query
    lines = selected(query, emitted)
    assert [(line.get("task") or line.get("type"), line["message"]) for line in lines] == [
        ("daily_digest", "run started"),
        ("daily_digest", "run succeeded"),
        ("send_digest", "job succeeded"),
    ]
    assert selected(query.replace(NO_ID, "f" * 32), emitted) == []


def test_what_failed_and_what_was_given_up_are_told_apart(emitted: Emitted) -> None:
    failures = selected(QUERIES["FailuresByTask"]["QueryString"], emitted)
    assert {line["outcome"] for line in failures} == {"failed", "dead"}
    assert {line["type"] for line in selected(QUERIES["DeadJobs"]["QueryString"], emitted)} == {"send_email"}


@every_query
def test_the_page_tells_of_each_query(name: str) -> None:
    page = (INFRA / "README.md").read_text(encoding="utf-8")
    assert f"| `{QUERIES[name]['Name'].removeprefix('nightshift-prod/')}` |" in page
