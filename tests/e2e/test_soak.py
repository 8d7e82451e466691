"""The soak itself: a few days of it, on real servers, keep every promise and are told."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
NAMES = {"mysql": "MySQL", "mariadb": "MariaDB"}


def test_a_few_days_of_the_soak_keep_every_promise(tmp_path: Path) -> None:
    server = os.environ.get("E2E_SERVER", "mysql")
    page = (PROJECT / "docs" / "soak.md").read_text()
    (tmp_path / "soak.md").write_text(page)
    arguments = ["--minutes", "0.5", "--days", "4", "--seed", "7", "--server", server, "--write", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "soak", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [told] = json.loads((tmp_path / "soak.json").read_text())
    assert NAMES[server] in told["machine"]
    assert told["broken"] == []
    assert told["found"]["fires"].get("nothing", 0) == 0
    assert told["found"]["digests"]["sent"] > 0
    assert told["found"]["backups"]["restored"] > 0
    own = page.partition("<!-- soak: last -->")[0]
    assert (tmp_path / "soak.md").read_text() == f"{own}<!-- soak: last -->\n{ended.stdout}<!-- /soak -->\n"
