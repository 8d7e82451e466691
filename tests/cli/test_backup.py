"""`nightshift backup …` as an operator runs it: in a process of its own, on each database and an emulator's bucket."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from chalicelib.runs import execution
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, local_environment
from tests.servers import on_a_server
from tests.shell import BASE, Lambda, Shell
from tests.world import World

KEY = "thirty-two characters or a few more"
ROWS = {"users": 20, "posts": 7}
OLDER = "20160101T010000Z-00000000"
RESTORED: dict[str, Any] = {
    "backup": OLDER,
    "is_complete": True,
    "schema": "shop",
    "tables": 1,
    "rows": 2,
    "is_resumed": True,
    "broken": [],
    "differences": [],
}
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass(frozen=True, kw_only=True)
class BackupShell(Shell):
    """A shell whose settings lead to an emulator, and places to restore to."""

    world: World

    @property
    def is_file(self) -> bool:
        """Whether the database is a file."""
        return self.environment["DATABASE_URL"].startswith("sqlite")

    def place(self, name: str) -> str:
        """Return a schema or file to restore into."""
        return str(self.folder / f"{name}.db") if self.is_file else f"{name}_of_cli"

    def url(self, place: str) -> str:
        """Return the URL of what was restored."""
        url = make_url(self.environment["DATABASE_URL"]).set(database=place)
        return url.render_as_string(hide_password=False)

    def rows(self, place: str) -> dict[str, int]:
        """Return how many rows the tables of a place have that the test has filled."""
        engine = create_engine(self.url(place), poolclass=NullPool)
        with engine.connect() as connection:
            return {name: connection.execute(text(f"SELECT COUNT(*) FROM {name}")).scalar_one() for name in ROWS}

    def back_up(self, **settings: str) -> str:
        """Make a backup without a shell, which takes its time, and return its id."""
        self.world.configure(**settings)
        summary = execution.execute("database_backup", event={}, context=self.world.context())
        return str(summary["backup"])

    def keys(self) -> list[str]:
        """Return the keys of all objects of backups."""
        found = self.world.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="backups/")
        return [each["Key"] for each in found.get("Contents", [])]

    def copy(self, id: str, *, to: str) -> None:
        """Put the objects of a backup where those of another would be."""
        for key in self.keys():
            source: Any = {"Bucket": BUCKET, "Key": key}
            self.world.aws.client("s3").copy_object(Bucket=BUCKET, Key=key.replace(id, to), CopySource=source)

    def flip(self, id: str) -> None:
        """Change one bit in the middle of a backup's last part."""
        s3 = self.world.aws.client("s3")
        key = [key for key in self.keys() if id in key and ".zst" in key][-1]
        content = bytearray(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        content[len(content) // 2] ^= 1
        s3.put_object(Bucket=BUCKET, Key=key, Body=bytes(content))


@pytest.fixture
def shell(world: World, database_url: str, tmp_path: Path) -> Iterator[BackupShell]:
    base = BASE | {"DATABASE_URL": database_url}
    environment = local_environment(base, endpoint=world.aws.endpoint, folder=tmp_path)
    shell = BackupShell(environment=environment, folder=tmp_path, group=("backup",), world=world)
    world.add_users(ROWS["users"])
    world.add_posts(*(f"Post {n}" for n in range(ROWS["posts"])))
    yield shell
    if not shell.is_file:
        for (schema,) in shell.execute(text("SHOW DATABASES LIKE '%of_cli'")):
            shell.execute(text(f"DROP DATABASE {schema}"))


def test_a_backup_is_made_listed_read_back_drilled_and_restored(shell: BackupShell) -> None:
    assert shell.tell("list") == "The bucket has no backups.\n"
    made = shell.run("create")
    assert made.returncode == 0, made.stderr
    created = re.fullmatch(r"Created and verified (\S+): \d\d tables\.\n", made.stdout)
    assert created
    id = created[1]
    assert shell.tell("verify").startswith(f"{id} is complete: ")
    assert shell.tell("drill", id).startswith(f"{id} restores without differences: ")
    header, row = shell.tell("list").splitlines()
    assert header.split() == ["backup", "verified", "drilled", "MB", "retention"]
    shown, verified, drilled, size, reasons = row.split(maxsplit=4)
    assert (shown, verified[-1], drilled[-1], size) == (id, "Z", "Z", "0.0")
    assert reasons.startswith("the newest; the newest that is verified; ")
    place = shell.place("restored")
    told = shell.tell("restore", "--into", place, "--checksum")
    assert told.startswith(f"Restored {id} into ")
    assert shell.rows(place) == ROWS


def test_in_a_narrow_terminal_each_backup_is_a_block_and_the_reasons_fold() -> None:
    moments = dict.fromkeys(("verified_at", "finished_at"), "2016-01-01T01:02:00Z") | {"drilled_at": None}
    reasons = ["the newest", "the newest of the week that began on 2015-12-28"]
    answer = {"backups": [{"id": OLDER, "bytes": 1_240_000_000, "keep": True, "reasons": reasons, **moments}]}
    with Lambda(json.dumps(answer).encode()).serve("backup") as shell:
        lines = [line.rstrip() for line in shell.see("list", "--stage", "prod", width=40).splitlines()]
    assert lines == [
        OLDER,
        "  verified  2016-01-01T01:02:00Z",
        "  drilled   no",
        "  MB        1,240.0",
        "  retention",
        "    the newest",
        "    the newest of the week that began on",
        "    2015-12-28",
    ]


def test_each_command_tells_the_same_as_json(shell: BackupShell) -> None:
    def ask(*arguments: str) -> Any:
        done = shell.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    id = ask("create")["backup"]
    (listed,) = ask("list")
    assert (listed["id"], listed["keep"], listed["drilled_at"]) == (id, True, None)
    assert ask("verify")["rows"] >= sum(ROWS.values())
    tables = ask("drill")["tables"]
    restored = ask("restore", id, "--into", shell.place("restored"), "--checksum")
    assert (restored["backup"], restored["is_complete"], restored["tables"]) == (id, True, tables)
    assert restored["differences"] == []
    assert ask("prune") == {"removed": [], "kept": {}, "bytes": 0, "aborted_uploads": 0}


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_where_no_backup_is_made_that_is_an_error(as_json: list[str]) -> None:
    answer = {"outcome": "skipped", "succeeded": 0, "reason": "run r1 of 2016-08-04T01:00:00Z is not over"}
    with Lambda(json.dumps(answer).encode()).serve("backup") as shell:
        done = shell.run("create", "--stage", "prod", *as_json)
    assert (done.returncode, json.loads(done.stdout or "null")) == (1, answer if as_json else None)
    assert done.stderr == "nightshift: no backup was created: run r1 of 2016-08-04T01:00:00Z is not over\n"


def test_where_something_is_nothing_is_restored_unless_it_may_be_replaced(shell: BackupShell) -> None:
    shell.back_up()
    place = shell.place("restored")
    shell.tell("restore", "--into", place)
    engine = create_engine(shell.url(place), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM posts"))
    complaint = shell.complaint("restore", "--into", place)
    assert "use --replace" in complaint
    assert shell.rows(place) == ROWS | {"posts": 0}
    assert "use --replace" in shell.complaint("restore"), "the application's own database"
    assert shell.tell("restore", "--into", place, "--replace").startswith("Restored ")
    assert shell.rows(place) == ROWS


@on_a_server
def test_some_tables_are_restored_by_their_names(shell: BackupShell) -> None:
    shell.back_up()
    place = shell.place("restored")
    assert shell.tell("restore", "--into", place, "--table", "use*", "--table", "posts").endswith(
        ": 2 tables, 27 rows.\n"
    )
    assert shell.rows(place) == ROWS
    assert (
        shell.complaint("restore", "--into", place, "--table", "no", "--replace")
        == "the backup has no table that matches no"
    )


@sqlite_only
def test_of_a_file_no_tables_are_named_and_it_is_written_where_a_file_can_be(shell: BackupShell) -> None:
    shell.back_up()
    place = shell.place("restored")
    sentence = "a backup of an SQLite file can only be restored as a whole: name no tables"
    assert shell.complaint("restore", "--into", place, "--table", "posts") == sentence
    assert not Path(place).exists()
    nowhere = str(shell.folder / "no folder" / "restored.db")
    assert shell.complaint("restore", "--into", nowhere) == f"{nowhere} cannot be written: No such file or directory"


def test_pruning_tells_what_would_go_and_removes_it_only_when_told_to(shell: BackupShell) -> None:
    id = shell.back_up()
    shell.copy(id, to=OLDER)
    keep = {"BACKUP_KEEP": "all=1 daily=1 weekly=0 monthly=0 yearly=0"}
    before = shell.keys()
    assert shell.tell("prune", **keep).startswith("Would remove 1 backup, 0.0 MB: 20160101T010000Z-00000000\n")
    assert "expired: no rule keeps it" in shell.tell("list", **keep)
    assert shell.keys() == before
    assert shell.tell("prune", "--yes", **keep).startswith("Removed 1 backup, 0.0 MB: 20160101T010000Z-00000000\n")
    assert shell.keys() == [key for key in before if id in key]
    assert shell.tell("prune", "--yes", **keep) == "Removed 0 backups, 0.0 MB: none\n"


def test_a_damaged_backup_is_refused_before_anything_is_restored(shell: BackupShell) -> None:
    id = shell.back_up()
    shell.flip(id)
    place = shell.place("restored")
    for command in (["restore", "--into", place], ["drill"], ["verify"]):
        complaint = shell.complaint(*command)
        assert f" of backup {id} is damaged: " in complaint
        assert complaint.endswith("; use another backup")
    assert shell.tell("list").splitlines()[1].split()[1] == "no"
    if shell.is_file:
        assert not Path(place).exists()
    else:
        assert shell.execute(text(f"SHOW DATABASES LIKE '{place}'")) == []


def test_an_encrypted_backup_takes_its_key_and_a_plain_one_a_word_where_there_are_keys(shell: BackupShell) -> None:
    plain = shell.back_up()
    place = shell.place("restored")
    sentence = f"the backup {plain} is not encrypted although BACKUP_KEY is set"
    assert shell.complaint("restore", "--into", place, BACKUP_KEY=KEY).startswith(sentence)
    assert shell.tell("restore", "--into", place, "--plain", BACKUP_KEY=KEY).startswith(f"Restored {plain} ")


def test_an_encrypted_backup_is_restored_with_its_key_alone(shell: BackupShell) -> None:
    id = shell.back_up(backup_key=KEY)
    place = shell.place("restored")
    assert f"the backup {id} is encrypted with the key" in shell.complaint("restore", "--into", place)
    assert "add it there" in shell.complaint("verify", BACKUP_KEY=KEY[::-1])
    assert shell.tell("restore", "--into", place, BACKUP_KEY=f"{KEY[::-1]},{KEY}").startswith(f"Restored {id} ")
    assert shell.rows(place) == ROWS


@sqlite_only
@pytest.mark.parametrize(
    ("command", "wanted", "sentence"),
    [
        ("verify", OLDER, f"there is no complete backup for '{OLDER}'; run `nightshift backup list`"),
        ("drill", "latest", "there is no complete backup for 'latest'; run `nightshift backup list`"),
        (
            "restore",
            "2026-11-20T00:00",
            "'2026-11-20T00:00' is neither `latest`, nor the id of a backup, nor a time with",
        ),
        ("restore", "../secrets", "'../secrets' is neither `latest`, nor the id of a backup, nor a time with its zone"),
    ],
)
def test_what_is_no_backup_is_said_in_a_sentence(shell: BackupShell, command: str, wanted: str, sentence: str) -> None:
    assert shell.complaint(command, wanted).startswith(sentence)


@on_a_server
@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("mysql", "mysql is a system schema; restore into another schema"),
        ("x" * 65, f"creating the schema {'x' * 65}: I"),
        ("", "the request backup restore is not valid: Expected `str` of length >= 1 - at `$.schema`"),
    ],
)
def test_what_is_no_place_to_restore_to_is_said_in_a_sentence(shell: BackupShell, place: str, sentence: str) -> None:
    shell.back_up()
    assert shell.complaint("restore", "--into", place).startswith(sentence)


@sqlite_only
def test_a_moment_finds_the_last_backup_before_it(shell: BackupShell) -> None:
    id = shell.back_up()
    shell.copy(id, to=OLDER)
    # The copy's manifest names the other one, and each is only taken for what it says it is.
    assert f"it belongs to the backup {id}" in shell.complaint("verify", "2016-02-01T00:00+01:00")
    assert shell.tell("verify", "2100-01-01T00:00Z").startswith(id)


@sqlite_only
def test_a_restore_needs_no_more_than_the_database_and_the_bucket(shell: BackupShell) -> None:
    shell.back_up()
    names = {"DATABASE_URL", "BUCKET", *BASE}
    needed = {name: value for name, value in shell.environment.items() if name in names or name.startswith("AWS_")}
    bare = BackupShell(environment=needed, folder=shell.folder, group=shell.group, world=shell.world)
    place = shell.place("restored")
    assert bare.tell("restore", "--into", place).startswith("Restored ")
    assert shell.rows(place) == ROWS
    assert bare.complaint("list", BUCKET="").startswith("BUCKET must not be empty")


def test_a_bucket_that_cannot_be_listed_is_a_sentence_and_no_empty_list(
    aws: LocalAws, tmp_path: Path, sqlite_url: str
) -> None:
    environment = local_environment(BASE | {"DATABASE_URL": sqlite_url}, endpoint=aws.endpoint, folder=tmp_path)
    shell = Shell(environment=environment, folder=tmp_path, group=("backup",))
    for command in ("list", "prune"):
        complaint = shell.complaint(command, BUCKET="nightshift-gone")
        assert complaint.startswith("the objects below backups/ cannot be listed: ")
        assert "The specified bucket does not exist" in complaint


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            {"task": "database_backup", "run_id": "r1", "continues": True},
            "The backup is written; the worker continues to verify it. Its run is r1.\n",
        ),
        (
            {"outcome": "succeeded", "succeeded": 1, "snapshot": OLDER},
            f"RDS is creating the snapshot {OLDER}. Later runs export it.\n",
        ),
        (
            {"outcome": "succeeded", "succeeded": 1, "backup": OLDER},
            f"Created and verified {OLDER}: 1 table.\n",
        ),
    ],
)
def test_a_backup_that_the_deployment_makes_is_told_as_what_it_is(answer: dict[str, Any], line: str) -> None:
    lambda_ = Lambda(json.dumps(answer).encode())
    with lambda_.serve("backup") as shell:
        assert shell.tell("create", "--stage", "prod") == line
    path = "/2015-03-31/functions/nightshift-prod-operate/invocations"
    assert lambda_.asked == [(path, {"command": "backup.create"})]


class Continuing(Lambda):
    """A function that restores a part in its first invocation, and the rest in its second."""

    @property
    def answer(self) -> bytes:
        """What it answers now."""
        return json.dumps({"backup": OLDER, "is_complete": False} if len(self.asked) == 1 else RESTORED).encode()

    @answer.setter
    def answer(self, _given: bytes) -> None: ...


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_restore_that_takes_several_invocations_goes_on_with_the_same_backup(as_json: list[str]) -> None:
    lambda_ = Continuing(b"")
    with lambda_.serve("backup") as shell:
        printed = shell.tell("restore", "--stage", "prod", "--into", "shop", "--replace", *as_json)
    if as_json:
        assert json.loads(printed) == RESTORED
    else:
        first, last = printed.splitlines()
        assert first == f"{OLDER}: partly restored; continuing ..."
        assert last == f"Restored {OLDER} into shop: 1 table, 2 rows."
    request = {"command": "backup.restore", "schema": "shop", "replace": True}
    # `latest` may be another one by the second time.
    assert [asked for _, asked in lambda_.asked] == [request | {"backup": id} for id in ("latest", OLDER)]


def test_a_restore_that_differs_is_an_error_after_its_summary() -> None:
    answer = RESTORED | {"differences": ["posts has 1 rows, and the backup 2"]}
    lambda_ = Lambda(json.dumps(answer).encode())
    with lambda_.serve("backup") as shell:
        done = shell.run("restore", "--stage", "prod", "--into", "shop", "--set-definer", "--table", "po*")
    assert done.stdout == f"Restored {OLDER} into shop: 1 table, 2 rows.\n"
    assert done.stderr.startswith("nightshift: the restored data differs from the backup: posts has 1 rows")
    assert done.returncode == 1
    ((_, asked),) = lambda_.asked
    assert asked == {
        "command": "backup.restore",
        "backup": "latest",
        "schema": "shop",
        "tables": ["po*"],
        "set_definer": True,
    }
