"""Writing several files together: all of them, or none."""

from pathlib import Path

import pytest

from nightshift.make.writing import write
from tests.make.conftest import files_of


def test_new_and_old_files_hold_what_they_should_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    (tmp_path / "other").write_text("other\n")
    write(tmp_path, {"old": "changed\r\n", "new": "größe\n"})
    assert files_of(tmp_path) == {"old": b"changed\r\n", "new": "größe\n".encode(), "other": b"other\n"}


def test_a_file_keeps_who_may_do_what_with_it(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    (tmp_path / "old").chmod(0o750)
    write(tmp_path, {"old": "changed\n"})
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o750


def test_a_link_stays_one_and_what_it_leads_to_changes(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path, {"link": "changed\n"})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "changed\n"


@pytest.mark.parametrize("bad", ["folder", "missing/file"])
def test_one_that_cannot_be_written_leaves_all_as_they_were(tmp_path: Path, bad: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "within").write_text("within\n")
    (tmp_path / "old").write_text("old\n")
    before = files_of(tmp_path)
    # Behind the others, which are in their places by then, or would be.
    with pytest.raises(ValueError, match=r"^nothing was changed: .*(directory|exists)"):
        write(tmp_path, {"old": "changed\n", "new": "new\n", bad: "text\n"})
    assert files_of(tmp_path) == before


def test_being_interrupted_in_the_middle_leaves_all_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("old\n")
    before, replace = files_of(tmp_path), Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == "b":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, {"a": "new\n", "b": "new\n", "c": "new\n"})
    assert files_of(tmp_path) == before
