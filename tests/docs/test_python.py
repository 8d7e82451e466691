"""Every block of Python is run, with what its page says that there is, and does what the page says."""

import ast
import json
import shutil
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from chalice.app import CloudWatchEvent
from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, select

from chalicelib.application import users
from chalicelib.core.clock import to_ms
from chalicelib.schedule.schedule import Schedule
from chalicelib.triggers import App
from nightshift.local.invocation import LocalContext, scheduled_event
from nightshift.testkit import permitted
from nightshift.testkit.kit import NOON, WORK, Kit
from tests.docs.pages import ROOT, blocks
from tests.docs.running import PYTHON, block_with, run

USER = {
    "id": "1",
    "name": "Ada",
    "email": "ada@example.org",
    "is_verified": True,
    "email_digest": True,
    "is_admin": False,
    "created_at": 0,
    "updated_at": 0,
}


class UnidentifiedImageError(Exception):
    """As the reader's library of pictures has it."""


class Product(msgspec.Struct):
    """The reader's own."""

    id: str
    price: int


def test_a_rule_of_ones_own_is_one() -> None:
    drafts = Table("drafts", MetaData(), Column("id", String(36), primary_key=True), Column("updated_at", BigInteger))
    rule = run(block_with("Rule("), drafts=drafts)["value"]
    assert (rule.name, rule.timestamp.table.name, rule.keep.days) == ("drafts", "drafts", 180)


def test_a_mapping_of_other_names_is_one() -> None:
    block = block_with('"members"')
    members = run(replace(block, text=block.text.replace("    ...,\n", "")), metadata=MetaData())["users"]
    assert (members.name, members.c.email.name) == ("members", "mail_address")


def test_a_mapping_of_another_shape_is_one() -> None:
    readers = run(block_with('subquery("readers")'), metadata=MetaData())["users"]
    assert {"id", "name", "email", "created_at", "is_verified", "is_admin", "email_digest"} == set(readers.c.keys())


def test_a_source_that_is_declared_is_one() -> None:
    (source,) = run(block_with("SOURCES"), Product=Product)["SOURCES"]
    assert (source.name, source.pages.parameter, source.valid) == ("shop", "after", Product)


def test_a_trigger_is_as_in_app_py_but_for_its_schedule() -> None:
    first, _, rest = block_with("def daily_digest(").text.partition("\n")
    text = first.removeprefix('@app.schedule("').removesuffix('")')
    assert Schedule(text).zone.key == "Europe/Berlin"
    assert f'@app.schedule("0 8 * * *")\n{rest}' in (ROOT / "app.py").read_text(encoding="utf-8")


def test_the_readmes_trigger_fires_at_nine_in_berlin() -> None:
    ours = App(app_name="nightshift")

    def execute(task: str, event: CloudWatchEvent) -> str:
        return f"{task} for {event.time}"

    own = {"app": ours, "CloudWatchEvent": CloudWatchEvent, "_execute": execute}
    trigger = run(block_with('"0 9 * * * Europe/Berlin"'), **own)["remind_unverified"]
    context = LocalContext(function_name="remind_unverified")
    # Berlin is an hour ahead of UTC in winter and two in summer, and the rule fires at both hours.
    answers = [trigger(scheduled_event(datetime(2026, 3, 2, hour, tzinfo=UTC)), context) for hour in (7, 8)]
    assert answers[0]["outcome"] == "dropped"
    assert answers[1] == "remind_unverified for 2026-03-02T08:00:00Z"


def test_the_readmes_task_reminds_each_unverified_user_once(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(block_with("def remind_unverified(context"))["remind_unverified"]
    module = SimpleNamespace(remind_unverified=found)
    monkeypatch.setitem(sys.modules, "chalicelib.tasks.remind_unverified", module)
    yesterday = {"created_at": to_ms(NOON - timedelta(days=1)), "is_verified": False}
    add_users(
        kit,
        USER | yesterday,
        USER | {"id": "2", "email": "bob@example.org", "is_verified": False},
        USER | {"id": "3", "email": "eve@example.org"} | yesterday | {"is_verified": True},
    )
    payloads: list[dict[str, bool]] = [{"dry_run": True}, {}, {}]
    summaries = [kit.fire("remind_unverified", **payload) for payload in payloads]
    assert [(each["outcome"], each["total"], each["succeeded"]) for each in summaries[:2]] == [
        ("succeeded", 1, 0),
        ("succeeded", 1, 1),
    ]
    assert summaries[2]["outcome"] == "skipped"
    kit.drain()
    assert recipients(kit) == ["ada@example.org"]


def test_the_readmes_handler_closes_an_account_and_says_goodbye_once(kit: Kit) -> None:
    kit.handlers["close_account"] = run(block_with("def close_account("))["close_account"]
    add_users(kit, USER)
    job = kit.enqueue("close_account", {"user_id": "1"})
    kit.redeliver(job)
    kit.drain()
    assert kit.context().database.transact(lambda connection: connection.execute(select(users)).all()) == []
    assert recipients(kit) == ["ada@example.org"]


def recipients(kit: Kit) -> list[str]:
    return [address for call in kit.ses.sent for address in call["Destination"]["ToAddresses"]]


def add_users(kit: Kit, *rows: dict[str, object]) -> None:
    kit.context().database.transact(lambda connection: connection.execute(insert(users), list(rows)))


def test_a_job_is_enqueued_with_the_user_that_it_belongs_to(kit: Kit) -> None:
    context = kit.context()
    run(block_with("insert(users).values(user)"), context=context, user=USER)
    assert context.database.transact(lambda connection: connection.execute(select(users.c.email)).all()) == [
        ("ada@example.org",)
    ]
    assert [job.type for job in kit.jobs()] == ["send_email"]
    assert len(kit.sqs.messages(WORK)) == 1


def test_without_its_user_there_is_no_job(kit: Kit) -> None:
    kit.context().database.transact(lambda connection: connection.execute(insert(users), [USER]))
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        run(block_with("insert(users).values(user)"), context=kit.context(), user=USER)
    assert kit.jobs() == []
    assert kit.sqs.messages(WORK) == []


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Policies of the reader's own, as the project has them."""
    copy = tmp_path / "policies"
    shutil.copytree(permitted.POLICIES, copy)
    monkeypatch.setattr(permitted, "POLICIES", copy)
    return copy


def test_the_handler_passes_its_tests_with_the_rights_that_the_page_names(tmp_path: Path, policies: Path) -> None:
    own = {"UnidentifiedImageError": UnidentifiedImageError, "smaller": lambda payload: bytes(payload.width)}
    handler = run(block_with("def resize_image("), **own)["resize_image"]

    resized = run(block_with("def test_a_picture_is_resized("))["test_a_picture_is_resized"]
    killed = run(block_with("def test_a_killed_worker_"))["test_a_killed_worker_loses_and_repeats_nothing"]

    def pass_tests() -> None:
        for test in (resized, killed):
            kit = Kit(f"sqlite:///{tmp_path / f'{uuid.uuid4()}.db'}")
            kit.handlers["resize_image"] = handler
            test(kit)

    with pytest.raises(AssertionError):
        pass_tests()
    (statement,) = (block.text for block in blocks("json") if "KeepSmallPictures" in block.text)
    ours = json.loads((policies / "shared" / "handlers.json").read_text())
    ours["Statement"].append(json.loads(statement))
    (policies / "shared" / "handlers.json").write_text(json.dumps(ours))
    pass_tests()


def test_every_block_is_run_by_one_of_these() -> None:
    sources = (path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    looked_for = [
        node.args[0].value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "block_with"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert [block.name for block in PYTHON if not any(str(text) in block.text for text in looked_for)] == []
