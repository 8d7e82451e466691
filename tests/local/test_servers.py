"""Servers of the tests that cannot be set up say why, and leave each other's files alone."""

import os
from pathlib import Path

import pytest

from nightshift.local.servers import prepare_mariadb


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
