"""Servers of the tests are the real ones, say why they cannot be set up, and leave each other's files alone."""

import os
from pathlib import Path

import pytest

from nightshift.local.servers import NotInstalledError, find_program, prepare_mariadb


def test_a_database_is_set_up_with_temporary_files_of_its_own_and_tells_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, folder = tmp_path / "programs", tmp_path / "a folder"
    programs.mkdir()
    folder.mkdir()
    for program in ("mariadbd", "mariadb-install-db"):
        (programs / program).write_text('#!/bin/sh\necho "no room in $TMPDIR"\nexit 1\n')
        (programs / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)

    with pytest.raises(AssertionError, match=f"made no database in {folder}/data:\nno room in {folder}/temporary"):
        prepare_mariadb(folder)


@pytest.mark.parametrize("text", ["Ver 11.8.9-MariaDB", None], ids=["MariaDB's program of that name", "no such file"])
def test_mysqld_is_a_real_mysql_or_not_installed(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mysqld"
    if text is not None:
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("MYSQLD", str(program))
    with pytest.raises(NotInstalledError, match=f"^{program} is not installed: run .ci/mysql, or set MYSQLD"):
        find_program("mysqld")
    program.write_text("#!/bin/sh\necho 'Ver 9.7.4 for Linux'\n")
    program.chmod(0o755)
    assert find_program("mysqld") == str(program)
