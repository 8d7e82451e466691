"""The tables of settings and of functions have what there is, and nothing else."""

import re

from chalicelib.core.config import declared_in
from nightshift.project import triggers
from nightshift.project.configuration import settings_of
from tests.docs.pages import ROOT

DEFAULTS = {
    variable: default
    for kind in settings_of(ROOT)
    for variable, default in declared_in(kind).items()
    if variable != "NAME_PING"
}


def rows(page: str, header: str) -> list[list[str]]:
    """Return the first two cells of each row of the table with this header."""
    _, found, rest = (ROOT / page).read_text(encoding="utf-8").partition(f"{header}\n")
    assert found, header
    lines = rest.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")[:2]] for line in lines]


def test_each_setting_of_the_table_is_one_and_has_the_default_that_is_told() -> None:
    told = {
        variable: needed
        for first, needed in rows("docs/settings.md", "| variable | needed | meaning |")
        for variable in re.findall(r"`([A-Z_]+)`", first)
    }
    assert set(told) >= set(DEFAULTS)
    for variable, default in DEFAULTS.items():
        if default is None:
            assert told[variable] == "yes", variable
        elif default:
            assert told[variable] == f"no, {default}", variable
        else:
            assert told[variable] == "no" or told[variable].startswith("with "), variable
    # Of each task one, so they have no names of their own.
    assert {variable for variable in set(told) - set(DEFAULTS) if not variable.startswith("NAME_")} == set()


def test_the_page_about_deploying_has_each_function() -> None:
    first = [first for first, _ in rows("docs/deploy.md", "| function | runs | does |")]
    named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    assert named == {trigger.function for trigger in triggers.read(ROOT)} - {"unsubscribe"}
