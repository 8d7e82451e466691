"""An application's `jobs` table in an old character set: jobs of any text are performed all the same."""

from collections.abc import Iterator

import pytest

from chalicelib.queue.job import Job
from nightshift.testkit.kit import Kit
from tests.migrations.applications import GUIDE_JOBS, fresh
from tests.queue.samples import Note, fail, handle, insert_job

TEXT = "an owl 🦉, ÿ and 漢"


@pytest.fixture(params=["mysql", "mariadb"])
def old_kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    """A deployment on a table in three-byte UTF-8, which holds no emoji."""
    engine = fresh(request.getfixturevalue(f"{request.param}_url"), f"{GUIDE_JOBS} CHARACTER SET utf8mb3")
    yield Kit(engine.url.render_as_string(hide_password=False))
    engine.dispose()


def test_a_job_of_any_text_is_performed_however_it_comes(old_kit: Kit) -> None:
    begun: list[Job[Note]] = handle(old_kit)
    old_kit.send({"type": "note", "data": {"text": TEXT}, "tags": [TEXT], "idempotency_key": TEXT, "mine": TEXT})
    old_kit.enqueue("note", {"text": TEXT}, idempotency_key=f"{TEXT} 2", tags=[TEXT])
    insert_job(old_kit, id="row", data='{"text": "an owl \\ud83e\\udd89, ÿ and 漢"}')
    old_kit.settle()
    assert [job.status for job in old_kit.jobs()] == ["completed"] * 3
    assert [job.payload.text for job in begun] == [TEXT] * 3
    assert sorted(job.tags for job in begun) == [(), (TEXT,), (TEXT,)]


def test_an_error_of_any_text_is_recorded(old_kit: Kit) -> None:
    fail(old_kit, ValueError(TEXT), max_attempts=1)
    job_id = old_kit.enqueue("note", {"text": TEXT})
    old_kit.settle()
    assert old_kit.job(job_id).status == "dead"
    assert TEXT in old_kit.job(job_id).last_error
