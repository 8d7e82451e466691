"""Text in a narrow window: no word is broken, and a label costs no id its line."""

import pytest

from nightshift.cli.output import labelled, wrap_words

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize("width", [1, 24, 36, 40, 80])
def test_a_word_is_never_broken(width: int) -> None:
    told = f"no job that was given up has the id {ID}, see https://example.org/a-long-link/to-what-is-told"
    folded = wrap_words(told, width)
    assert len(folded) > 1
    assert " ".join(folded) == told


def test_a_text_of_nothing_is_one_empty_line() -> None:
    assert wrap_words("", 40) == [""]


@pytest.mark.parametrize(("width", "is_beside"), [(40, False), (45, False), (46, True), (80, True)])
def test_an_id_stands_beside_its_label_or_whole_below_it(width: int, is_beside: bool) -> None:
    folded = list(labelled("dead      ", [f"{ID} send_email, 10 attempts"], width=width))
    assert (ID in folded[0], any(line.strip().startswith(ID) for line in folded)) == (is_beside, not is_beside)
    assert max(map(len, folded)) <= width


def test_what_is_short_stands_beside_its_label_in_any_window() -> None:
    assert list(labelled("backup    ", ["none is verified"], width=40)) == ["backup    none is verified"]


def test_each_part_begins_a_line_below_the_one_before() -> None:
    assert list(labelled("next  ", ["Mon 08:00", "Tue 08:00"], width=40)) == ["next  Mon 08:00", "      Tue 08:00"]


def test_a_label_of_nothing_takes_no_line_of_its_own() -> None:
    told = "21 dead jobs in all: nightshift jobs list"
    assert list(labelled(" " * 10, [told], width=40)) == ["    21 dead jobs in all: nightshift jobs", "    list"]
