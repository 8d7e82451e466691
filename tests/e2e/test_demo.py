"""The demo as a person runs it: what it says of each task is so, and README.md shows what it says."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests.servers import on_both
from tests.shell import BASE, NIGHTSHIFT

ROOT = Path(__file__).parent.parent.parent
TASKS = [
    "record_activity",
    "database_backup",
    "backup_drill",
    "database_cleanup",
    "monthly_report",
    "cache_warming",
    "external_sync",
    "external_sync",
    "mail_feedback",
    "mail_feedback",
]
HEADER = "id,title,url,num_points,num_comments,author,created_at\n"
RULES = ["sessions", "password_reset_tokens", "email_verification_tokens", "unverified_users"]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What a run of the demo printed, and the folder that it left."""

    folder: Path
    printed: str
    database: str = "nightshift.db"

    def lines(self, *begins: str) -> list[str]:
        """Return the lines that begin with one of these, but for the list of schedules, which ends it."""
        return [line for line in self.printed.partition("\nSchedules ")[0].splitlines() if line.startswith(begins)]

    def rows(self, *begins: str) -> list[list[str]]:
        """Return the same as the cells of a table."""
        return [re.split(r"\s{2,}", line.strip()) for line in self.lines(*(f"{begin}  " for begin in begins))]

    def query(self, statement: str) -> list[Any]:
        """Return the rows of a query on its database."""
        engine = create_engine(f"sqlite:///{self.folder / self.database}")
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(statement))]
        finally:
            engine.dispose()


def run(folder: Path, *arguments: str, **environment: str) -> Demo:
    """Run the demo as it is installed, for somebody who has neither a home nor an account of AWS, to its good end."""
    settings = BASE | {"HOME": "/nonexistent", "AWS_PROFILE": "nosuch", "COLUMNS": "80"} | environment
    command = [str(NIGHTSHIFT), "demo", "--folder", str(folder), *arguments]
    done = subprocess.run(command, env=settings, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Demo(folder=folder, printed=done.stdout)


def find_redis() -> str | None:
    return shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    if find_redis() is None:
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)("redis-server is not installed")
    return run(tmp_path_factory.mktemp("demo") / "a folder")


def test_it_sends_once_and_writes_every_mail(demo: Demo) -> None:
    mails = list((demo.folder / "mail").glob("*.eml"))
    first, again = (line.split() for line in demo.lines("first fire", "the same fire"))
    assert first[2:5] == ["succeeded", str(len(mails)), str(len(mails))]
    assert again[4:7] == ["skipped", "0", "0"]
    assert len(mails) == len(list((demo.folder / "mail").glob("*.html"))) > 0


def test_its_log_is_json_without_addresses(demo: Demo) -> None:
    text = (demo.folder / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    digests = [line["outcome"] for line in lines if line.get("task") == "daily_digest" and "outcome" in line]
    assert digests == ["succeeded", "skipped"]
    assert "@example" not in text.replace("***@example", "")


def test_it_runs_again_in_the_same_folder(demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(demo.folder, tmp_path / "again", symlinks=True)
    run(tmp_path / "again", "--users", "5")


def test_it_reads_real_posts_and_names_bad_rows(tmp_path: Path) -> None:
    csv = tmp_path / "posts.csv"
    csv.write_text(
        "\ufeff" + HEADER + "1,<b>Real</b>,http://example.com,1,2,me,8/4/2016 11:52\n2,No date,,1,2,me,never\n"
    )
    demo = run(tmp_path / "demo", "--users", "5", "--posts", str(csv))
    assert f"{csv}:3: created_at" in demo.printed
    html = next((demo.folder / "mail").glob("*.html")).read_text()
    assert "&lt;b&gt;Real&lt;/b&gt;" in html


@on_both
def test_it_runs_on_a_database_server_and_redis(server_url: str, redis_url: str, tmp_path: Path) -> None:
    engine = create_engine(server_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE DATABASE demo"))
    engine.dispose()
    url = engine.url.set(database="demo").render_as_string(hide_password=False)
    demo = run(tmp_path / "demo", "--users", "20", DATABASE_URL=url, REDIS_URL=redis_url)
    assert "mysql+pymysql" in demo.printed


def test_every_task_but_the_digest_runs_and_succeeds(demo: Demo) -> None:
    rows = demo.rows(*dict.fromkeys(TASKS))
    assert [row[0] for row in rows] == TASKS
    assert {row[-5] for row in rows} == {"succeeded"}
    recorded = demo.query("SELECT task, status FROM runs WHERE task <> 'daily_digest' ORDER BY started_at")
    assert recorded == [(task, "succeeded") for task in TASKS if task != "mail_feedback"]


def test_activity_is_recorded_for_the_day_before_the_fire(demo: Demo) -> None:
    (line,) = demo.lines("Activity")
    count, day = re.findall(r"[\d-]+", line)
    assert demo.query(f"SELECT users FROM activity_days WHERE day = '{day}'") == [(int(count),)]
    assert demo.query("SELECT MAX(day) FROM activity_days") == [(day,)]
    assert int(count) > 0


def test_the_database_is_backed_up_refused_where_a_copy_is_damaged_and_restored_to_another_file(demo: Demo) -> None:
    id, rows, tables = re.findall(r"Backup    (\S+) has the ([\d,]+) rows of (\d+) tables, \S+ MB", demo.printed)[0]
    ((recorded, row_count, damaged),) = demo.query("SELECT id, row_count, error FROM backups WHERE drilled_at > 0")
    assert (recorded, row_count, damaged) == (id, int(rows.replace(",", "")), None)
    assert row_count > 12_000
    assert f".sqlite.zst of backup {id} is damaged: " in demo.printed
    assert not (demo.folder / "damaged.db").exists()
    restored = replace(demo, database="restored.db")
    assert (
        f"{demo.folder / 'restored.db'} has the same rows in {int(tables) - 2} tables; backups and runs" in demo.printed
    )
    assert restored.query("SELECT * FROM posts") == demo.query("SELECT * FROM posts")
    # As it was then, in the middle of its own backup.
    assert restored.query("SELECT status, verified_at FROM backups") == [("running", None)]
    assert f"the drill restored all {tables} tables" in demo.printed


def test_the_cleanup_deletes_what_the_dry_run_counted_and_says_what_is_left(demo: Demo) -> None:
    rows = demo.rows(*RULES)
    assert [row[0] for row in rows] == RULES
    for rule, _, due, deleted, left in rows:
        assert int(due) == int(deleted) > 0
        table = "users" if rule == "unverified_users" else rule
        assert demo.query(f"SELECT COUNT(*) FROM {table}") == [(int(left),)]


def test_the_report_is_there_to_be_opened_and_honest_about_what_nobody_recorded(demo: Demo) -> None:
    _, where = demo.printed.partition("\nReport")[2].split("          ")[1:3]
    page, report = (demo.folder / "report" / f"report.{extension}" for extension in ("html", "json"))
    assert str(page) in where
    months = json.loads(report.read_text())["months"]
    gaps = [month["month"] for month in months if month["active_users"] is None]
    assert 0 < len(gaps) < len(months) == 13
    assert f"it has 13 months, {len(gaps)} of them without data" in demo.printed
    assert months[-1]["active_users"] > months[len(gaps)]["active_users"] > 0
    assert all(month["new_posts"] > 0 for month in months[1:])
    assert "no data" in page.read_text()
    assert (demo.folder / "report" / "report.csv").read_text().count("\n") == 14


def test_the_cached_keys_are_named_with_what_they_hold(demo: Demo) -> None:
    (line,) = demo.lines("Cache")
    assert re.search(r"\{cache\}:current is version \d{13}-[0-9a-f-]{36}$", line)
    values = r"\{cache\}:popular_posts:<version> has 100 posts, \{cache\}:active_users:<version> says [1-9]"
    assert re.search(values, demo.printed)


def test_the_sync_is_throttled_quarantines_one_item_and_rewrites_nothing_the_second_time(demo: Demo) -> None:
    numbers = {(name, source): [int(n) for n in rest] for name, source, *rest in demo.rows("first", "second")[-4:]}
    assert numbers == {
        ("first", "default"): [5, 1, 0, 90, 0, 1],
        ("first", "tides"): [1, 0, 0, 14, 0, 0],
        ("second", "default"): [5, 1, 0, 0, 90, 1],
        ("second", "tides"): [1, 0, 1, 0, 14, 0],
    }
    assert demo.query("SELECT source, COUNT(*) FROM external_data GROUP BY source") == [("default", 90), ("tides", 14)]
    ((reason, data),) = demo.query("SELECT reason, data FROM quarantine")
    assert f"{data} is in quarantine: {reason}" in demo.printed


def test_a_bounce_that_is_told_twice_is_recorded_once(demo: Demo) -> None:
    assert [row[-4:-1] for row in demo.rows("mail_feedback")] == [["1", "0", "0"], ["0", "1", "0"]]
    assert demo.query("SELECT reason FROM suppressions") == [("permanent bounce",)]


def test_nothing_that_it_started_outlives_it(demo: Demo) -> None:
    (port,) = set(re.findall(r"port=(\d+)", (demo.folder / "redis" / "redis.log").read_text()))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))


def test_without_redis_it_says_in_one_line_that_the_cache_is_not_warmed(tmp_path: Path) -> None:
    if find_redis() not in {None, shutil.which("redis-server")}:
        pytest.skip("redis-server lies where it is found without a PATH")
    demo = run(tmp_path / "demo", "--users", "5", PATH="/nonexistent")
    assert [row[-5] for row in demo.rows("cache_warming")] == ["skipped"]
    assert demo.lines("Cache") == ["Cache     not warmed, without Redis: redis-server is not installed"]


def shape(line: str, folder: Path) -> str:
    """Return a line without what differs from one run, machine and day to another."""
    line = line.replace(str(folder), "FOLDER").replace("/home/you/nightshift/.nightshift/demo", "FOLDER")
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{8}T\d{6}Z-[0-9a-f]{8}", "ID", line)
    line = re.sub(r"(?:\d+ )?\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b", "DATE", line)
    line = re.sub(r"\d[\d.,:TZ/-]*", "N", line)
    return re.sub(r"\s+", " ", re.sub("━+", "━", line)).strip()


def readme() -> Iterator[str]:
    block = (ROOT / "README.md").read_text(encoding="utf-8").partition("$ make demo\n")[2].partition("```")[0]
    yield from block.splitlines()


def test_the_readme_shows_what_it_prints(demo: Demo) -> None:
    printed = [shape(line, demo.folder) for line in demo.printed.splitlines()]
    shown = [shape(line, demo.folder) for line in readme()]
    assert len(shown) > 15
    # A line that is only an ellipsis stands for any others, one that ends with it for a longer one.
    lines = [".*" if line == "…" else re.escape(line).replace("…", "[^\n]*") + "\n" for line in shown]
    assert re.fullmatch("".join(lines), "".join(f"{line}\n" for line in printed), re.DOTALL), "\n".join(printed)


def test_it_ends_with_every_schedule_its_latest_run_and_next_fires(demo: Demo) -> None:
    _, _, schedules = demo.printed.partition("\nSchedules ")
    table, _, _ = schedules.partition("\nMore of this data: ")
    rows = [line.split() for line in table.splitlines()[3:]]
    assert sorted(row[0] for row in rows) == sorted(import_module("app").app.schedules)
    assert all("succeeded" in row for row in rows)
    (digest,) = [" ".join(row) for row in rows if row[0] == "daily_digest"]
    assert re.fullmatch(
        r"daily_digest 0 8 \* \* \* UTC \S+ succeeded At 08:00 every day(; \w{3} \S+ 08:00 UTC){3}", digest
    )
