"""The external sync, from a fire to what is kept."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.errors import ConfigurationError, RunFailedError
from chalicelib.runs import execution
from chalicelib.schema import quarantine, sync_states
from chalicelib.schema import runs as runs_table
from chalicelib.tasks.external_sync import sources
from chalicelib.tasks.external_sync.sources import Credential
from nightshift.testkit.kit import Kit
from tests.tasks.external_sync.deployment import ITEMS, Deployment, fails, tally
from tests.tasks.external_sync.upstream import Asked, Reply, listing, upstream


@pytest.fixture
def deployment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with upstream() as running:
        yield Deployment(Kit(database_url), running, monkeypatch)


@pytest.fixture
def lite(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment for what the kind of database has no part in."""
    with upstream() as running:
        deployment = Deployment(Kit(sqlite_url), running, monkeypatch)
        deployment.empty()
        yield deployment


def test_items_are_kept_as_they_were_written_with_when_and_from_where(deployment: Deployment) -> None:
    body = b'[{"id": "a", "price": 12345678901234567.890, "name": "\xc3\xbc \\u00fc"},\n {"id": 7}]'
    deployment.upstream.always(Reply(body=body))
    summary = deployment.fire()
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 2, 2, 0, 0)
    seven, a = deployment.rows()
    assert (seven.external_id, seven.data) == ("7", '{"id": 7}')
    assert (a.external_id, a.data) == ("a", '{"id": "a", "price": 12345678901234567.890, "name": "ü \\u00fc"}')
    assert (a.source, a.synced_at, a.missing_since) == ("shop", deployment.kit.clock.now_ms(), None)
    assert len(a.id) == 36


def test_unchanged_items_are_not_written_and_changed_ones_keep_their_row(deployment: Deployment) -> None:
    deployment.upstream.serve(ITEMS)
    deployment.fire()
    before = deployment.rows()
    deployment.upstream.serve([*ITEMS[:4], {"id": "5", "title": "changed"}, {"id": "6", "title": "new"}])
    assert tally(deployment.fire()) == (6, 2, 4, 0)
    after = deployment.rows()
    assert after[:4] == before[:4]
    assert after[4].id == before[4].id
    assert after[4].synced_at > before[4].synced_at
    assert deployment.data()["5"] == {"id": "5", "title": "changed"}
    assert deployment.data()["6"] == {"id": "6", "title": "new"}


def test_rows_of_the_guides_own_writer_are_taken_over(deployment: Deployment) -> None:
    deployment.insert({"id": "row-1", "external_id": "1", "data": '{"id":"1","title":"Item 1"}', "synced_at": 5})
    deployment.upstream.serve(ITEMS)
    assert tally(deployment.fire()) == (5, 5, 0, 0)
    first = deployment.rows()[0]
    assert (first.id, first.source) == ("row-1", "shop")
    assert tally(deployment.fire()) == (5, 0, 5, 0)


def test_without_a_source_the_run_is_skipped_with_the_reason(lite: Deployment) -> None:
    lite.declare_all()
    summary = lite.fire()
    assert summary["outcome"] == "skipped"
    assert "EXTERNAL_SYNC_URL is not set" in summary["reason"]


def test_wrong_setting_is_refused_before_a_run_is_claimed(lite: Deployment) -> None:
    lite.kit.environment["EXTERNAL_SYNC_PAGES"] = "all"
    with pytest.raises(ConfigurationError, match="EXTERNAL_SYNC_PAGES must be one of none, link, cursor, page"):
        lite.fire()
    assert lite.rows(runs_table) == []


def test_settings_describe_a_source_that_is_sent_the_token(lite: Deployment) -> None:
    lite.declare_all()
    lite.kit = Kit(
        lite.kit.environment["DATABASE_URL"],
        clock=lite.kit.clock,
        EXTERNAL_SYNC_URL=lite.upstream.url("/feed?kind=book"),
        EXTERNAL_SYNC_TOKEN="top-secret-token\n",
        EXTERNAL_SYNC_PAGES="cursor",
        EXTERNAL_SYNC_HOSTS_ALLOWED="localhost, 127.0.0.1",
    )
    lite.upstream.pages(ITEMS[:3], ITEMS[3:])
    assert tally(lite.fire()) == (5, 5, 0, 0)
    first, second = lite.upstream.asked
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer top-secret-token"
    assert (first.path, first.query, second.query) == ("/feed", {"kind": "book"}, {"kind": "book", "cursor": "1"})
    assert {row.source for row in lite.rows()} == {"default"}


def test_secret_unfit_for_a_header_is_not_disclosed(lite: Deployment) -> None:
    lite.declare(credential=Credential(secret="sesame\r\nX-Other: open"))
    with pytest.raises(RunFailedError, match="has characters that a header cannot hold") as raised:
        lite.fire()
    assert "sesame" not in str(raised.value)
    assert lite.upstream.asked == []


def test_a_dry_run_counts_what_would_be_and_writes_nothing(deployment: Deployment) -> None:
    deployment.upstream.serve(ITEMS[:3])
    deployment.fire()
    rows, state = deployment.rows(), deployment.state()
    deployment.upstream.serve([ITEMS[0], {"id": "2", "title": "changed"}, *ITEMS[2:], {"title": "no id"}])
    summary = deployment.fire(dry_run=True)
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 6, 3, 2, 1)
    assert (deployment.rows(), deployment.state(), deployment.rows(quarantine)) == (rows, state, [])
    assert len(deployment.rows(runs_table)) == 1


def test_dry_run_without_time_fails_and_is_not_continued(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    with pytest.raises(RunFailedError, match="a dry run is not continued"):
        lite.fire(dry_run=True, seconds=9)
    assert lite.kit.receive() == []
    assert lite.rows(sync_states) == []


def test_failed_source_does_not_stop_others_and_is_read_by_the_retry(
    lite: Deployment,
) -> None:
    broken = lite.source(name="broken", url=lite.upstream.url("/broken"))
    lite.declare_all(broken, lite.source(name="fine"))
    served = {"/items": listing(ITEMS[:2]), "/broken": Reply(body=b"[{")}
    lite.upstream.answer = lambda asked: served[asked.path]
    fails(lite, "broken: the response breaks off", request_id="r1")
    assert {row.source for row in lite.rows()} == {"fine"}
    served["/broken"] = listing([{"id": "x"}])
    summary = lite.again(request_id="r1")
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 3, 3, 0, 0)
    assert [asked.path for asked in lite.upstream.asked] == ["/broken", "/items", "/broken"]


def test_the_sources_ids_are_their_own(deployment: Deployment) -> None:
    deployment.declare_all(
        deployment.source(name="a", url=deployment.upstream.url("/a")),
        deployment.source(name="b", url=deployment.upstream.url("/b")),
        deployment.source(name="c", url=deployment.upstream.url("/c"), id_prefix="c:"),
    )
    deployment.upstream.answer = lambda asked: listing([{"id": "1", "of": asked.path}])
    assert tally(deployment.fire()) == (3, 2, 0, 1)
    assert deployment.data() == {"1": {"id": "1", "of": "/a"}, "c:1": {"id": "1", "of": "/c"}}
    assert deployment.reasons() == {"1": "its id belongs to the source a"}


def test_overtaken_run_is_skipped_and_overwrites_nothing_newer(deployment: Deployment) -> None:
    deployment.declare(is_snapshot=True)
    deployment.upstream.serve(ITEMS[:3])
    deployment.fire()
    newer = [{"id": "1", "v": "newer"}, *ITEMS[1:5]]
    older = [{"id": "1", "v": "older"}, ITEMS[1]]

    def answer(asked: Asked) -> Reply:
        # The slow answer of the first run comes when a second one, begun later, has read all.
        if len(deployment.upstream.asked) == 2:
            # As of a run that nobody has gone on with for more than an hour, and that is at work all the same.
            deployment.transact(lambda connection: connection.execute(update(runs_table).values(lease_until=0)))
            overtaking.append(deployment.fire())
            return listing(older)
        return listing(newer)

    overtaking: list[dict[str, Any]] = []
    deployment.upstream.answer = answer
    overtaken = deployment.fire()
    assert (overtaking[0]["outcome"], tally(overtaking[0])) == ("succeeded", (5, 3, 2, 0))
    assert (overtaken["outcome"], overtaken["reason"]) == ("skipped", "shop: another run is reading it")
    assert deployment.data() == {item["id"]: item for item in newer}
    assert deployment.missing() == []


def test_a_fire_that_comes_twice_makes_one_run(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    lite.fire()
    assert lite.again()["outcome"] == "skipped"
    assert len(lite.upstream.asked) == 1


def test_the_run_is_by_the_moment_of_its_fire(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    moment = "2026-03-02T12:00:00Z"
    event = {"detail-type": "Scheduled Event", "time": moment}
    summary = execution.execute("external_sync", event=event, context=lite.context())
    assert (summary["scheduled_for"], summary["trigger"]) == (moment, "schedule")
    assert lite.rows(runs_table)[0].scheduled_for == to_ms(from_ms(1772452800000))


def test_source_names_are_unique(lite: Deployment) -> None:
    lite.declare_all(lite.source(), lite.source())
    fails(lite, "2 sources are called shop")
    assert sources.SOURCES[0].name == "shop"
