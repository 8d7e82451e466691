"""Posts from a CSV file: what becomes a post, what is reported as bad and where, what is refused."""

import csv
import re
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.application import posts
from chalicelib.core.clock import to_ms
from nightshift.demo.posts_csv import COLUMNS, BadRow, read_posts

HEADER = ",".join(COLUMNS)
GOOD = "12224879,Interactive Dynamic Video,http://www.example.com/,386,52,ne0phyte,8/4/2016 11:52"


def write(tmp_path: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = tmp_path / "posts.csv"
    path.write_bytes("".join(line + "\n" for line in (header, *lines)).encode(encoding))
    return path


def row(**changed: str) -> str:
    """Return a line like the good one with some cells changed, quoted as they are given."""
    cells = dict(zip(COLUMNS, GOOD.split(","), strict=True)) | changed
    return ",".join(cells.values())


def only(path: Path) -> dict[str, Any]:
    (post,) = read_posts(path)
    assert isinstance(post, dict), post
    return post


def only_bad(path: Path) -> BadRow:
    (bad,) = read_posts(path)
    assert isinstance(bad, BadRow), bad
    return bad


def test_a_row_becomes_a_row_of_the_posts_table(tmp_path: Path) -> None:
    post = only(write(tmp_path, GOOD))
    assert set(post) == set(posts.columns.keys())
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", post.pop("id"))
    assert post == {
        "title": "Interactive Dynamic Video",
        "url": "http://www.example.com/",
        "author": "ne0phyte",
        "points": 386,
        "comments": 52,
        "views": 0,
        "created_at": to_ms(datetime(2016, 8, 4, 11, 52, tzinfo=UTC)),
    }


def test_the_same_csv_id_gives_the_same_post_id_in_every_run(tmp_path: Path) -> None:
    assert only(write(tmp_path, GOOD))["id"] == "01a9c8d1-ddaa-5fb7-b6db-7e808cbf47cb"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_makes_no_difference(tmp_path: Path, encoding: str) -> None:
    post = only(write(tmp_path, row(title="Ça va 世界"), encoding=encoding))
    assert post["title"] == "Ça va 世界"


def test_columns_come_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    header = "created_at,mood,author,num_comments,num_points,url,title,id"
    line = "8/4/2016 11:52,happy,ne0phyte,52,386,http://www.example.com/,Interactive Dynamic Video,12224879"
    reordered = only(write(tmp_path, line, header=header))
    assert reordered == only(write(tmp_path, GOOD))


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_any_line_ending_will_do_and_the_last_may_be_missing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(f"{HEADER}{ending}{GOOD}".encode())
    assert only(path)["title"] == "Interactive Dynamic Video"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1/26/2016 9:05", datetime(2016, 1, 26, 9, 5, tzinfo=UTC)),
        ("01/06/2016 00:00", datetime(2016, 1, 6, tzinfo=UTC)),
        ("2016-08-04", datetime(2016, 8, 4, tzinfo=UTC)),
        ("2016-08-04 11:52", datetime(2016, 8, 4, 11, 52, tzinfo=UTC)),
        ("2016-08-04T11:52:07Z", datetime(2016, 8, 4, 11, 52, 7, tzinfo=UTC)),
        ("2016-08-04T11:52:00.250+02:00", datetime(2016, 8, 4, 9, 52, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_us_and_iso_dates_are_read_in_utc_unless_they_name_a_zone(tmp_path: Path, text: str, moment: datetime) -> None:
    assert only(write(tmp_path, row(created_at=text)))["created_at"] == to_ms(moment)


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "ftp://example.com/", "item?id=1", "https://example.com/" + "a" * 2048]
)
def test_what_is_no_usable_web_link_becomes_no_link(tmp_path: Path, url: str) -> None:
    assert only(write(tmp_path, row(url=url)))["url"] is None


def test_a_link_may_shout_its_scheme(tmp_path: Path) -> None:
    assert only(write(tmp_path, row(url="HTTPS://example.com/")))["url"] == "HTTPS://example.com/"


def test_only_a_title_over_five_hundred_characters_is_cut(tmp_path: Path) -> None:
    assert only(write(tmp_path, row(title="字" * 500)))["title"] == "字" * 500
    assert only(write(tmp_path, row(title="字" * 501)))["title"] == "字" * 499 + "…"


def test_an_author_may_be_missing_and_is_cut_to_the_column(tmp_path: Path) -> None:
    assert only(write(tmp_path, row(author="")))["author"] is None
    assert only(write(tmp_path, row(author="x" * 300)))["author"] == "x" * 254 + "…"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": ""}, "id is empty: ''"),
        ({"title": "   "}, "title is empty: ''"),
        ({"num_points": ""}, "num_points is not a whole number from 0 to 2147483647: ''"),
        ({"num_points": "-1"}, "num_points is not a whole number from 0 to 2147483647: '-1'"),
        ({"num_points": "2147483648"}, "num_points is not a whole number from 0 to 2147483647: '2147483648'"),
        ({"num_comments": "1_000"}, "num_comments is not a whole number from 0 to 2147483647: '1_000'"),
        ({"num_comments": "٣"}, "num_comments is not a whole number from 0 to 2147483647: '٣'"),
        ({"created_at": ""}, "created_at is neither like 8/4/2016 11:52 nor ISO 8601: ''"),
        (
            {"created_at": "13/4/2016 11:52"},
            "created_at is neither like 8/4/2016 11:52 nor ISO 8601: '13/4/2016 11:52'",
        ),
        ({"created_at": "yesterday"}, "created_at is neither like 8/4/2016 11:52 nor ISO 8601: 'yesterday'"),
        ({"title": "a\0b"}, r"title has a NUL character: 'a\x00b'"),
        ({"author": "ne0phyte,extra"}, "the row has 8 cells, the header 7"),
        ({"title": '"half" quoted'}, """the row is not CSV: ',' expected after '"'"""),
    ],
)
def test_a_bad_row_says_which_column_is_wrong_and_quotes_it(
    tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    assert only_bad(write(tmp_path, row(**changed))) == BadRow(2, reason)


def test_a_long_bad_value_is_quoted_in_forty_characters(tmp_path: Path) -> None:
    bad = only_bad(write(tmp_path, row(num_points="9" * 5000)))
    quoted = bad.reason.partition(": ")[2]
    assert quoted == "'" + "9" * 38 + "…"
    assert len(quoted) == 40


def test_a_row_cut_short_is_bad_and_a_blank_line_is_no_row(tmp_path: Path) -> None:
    bad = only_bad(write(tmp_path, "", "1,Title", ""))
    assert bad == BadRow(3, "the row has 2 cells, the header 7")


def test_a_bad_row_is_placed_by_the_physical_line_on_which_it_starts(tmp_path: Path) -> None:
    two_lines = row(id="2", title='"first\nsecond"')
    bad_two_lines = row(id="3", title='"first\nsecond"', num_points="many")
    results = list(read_posts(write(tmp_path, row(id="1"), two_lines, bad_two_lines, row(id=""), row(id="5"))))
    assert [result.line for result in results if isinstance(result, BadRow)] == [5, 7]
    assert [isinstance(result, dict) for result in results] == [True, True, False, False, True]


def test_the_second_row_with_an_id_is_bad(tmp_path: Path) -> None:
    first, second, third = read_posts(write(tmp_path, GOOD, row(title="Again"), row(id="1")))
    assert isinstance(first, dict)
    assert second == BadRow(3, "id was used by an earlier row: '12224879'")
    assert isinstance(third, dict)


def test_a_bad_row_does_not_use_up_its_id(tmp_path: Path) -> None:
    bad, good = read_posts(write(tmp_path, row(num_points="many"), GOOD))
    assert isinstance(bad, BadRow)
    assert isinstance(good, dict)


def test_a_quote_that_is_never_closed_is_reported_where_it_opens(tmp_path: Path) -> None:
    good, bad = read_posts(write(tmp_path, row(id="1"), row(id="2", title='"open'), row(id="3")))
    assert isinstance(good, dict)
    assert bad == BadRow(3, "the row is not CSV: unexpected end of data")


def test_a_cell_too_large_for_a_cell_does_not_stop_the_rows_after_it(tmp_path: Path) -> None:
    bad, good = read_posts(write(tmp_path, row(title="x" * (csv.field_size_limit() + 1)), GOOD))
    assert isinstance(bad, BadRow)
    assert bad.line == 2
    assert "larger than field limit" in bad.reason
    assert isinstance(good, dict)


def test_a_file_with_only_a_header_has_no_posts(tmp_path: Path) -> None:
    assert list(read_posts(write(tmp_path))) == []


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.csv"
    with pytest.raises(ValueError, match=re.escape(f"{path} cannot be read: No such file or directory.")):
        next(read_posts(path))


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path} cannot be read: Is a directory.")):
        next(read_posts(tmp_path))


def test_missing_columns_are_named_beside_those_found(tmp_path: Path) -> None:
    path = write(tmp_path, header="id,headline,url,num_points,num_comments,created_at")
    expected = (
        f"{path} lacks the column(s) title, author; "
        "it has 'id', 'headline', 'url', 'num_points', 'num_comments', 'created_at'."
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        next(read_posts(path))


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\r\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(f"{path} is empty; its first line must name the columns id,")):
        next(read_posts(path))


def test_a_header_that_is_not_csv_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, header='"id,title')
    with pytest.raises(ValueError, match="has a header that is not CSV"):
        next(read_posts(path))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused_by_path_and_line(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, row(id="1"), row(id="2", title="Café"), encoding=encoding)
    line = 3 if encoding == "latin-1" else 1
    with pytest.raises(ValueError, match=re.escape(f"{path} is not UTF-8: line {line} has invalid bytes.")):
        list(read_posts(path))


def test_rows_before_bytes_that_are_not_utf8_are_still_read(tmp_path: Path) -> None:
    results = read_posts(write(tmp_path, GOOD, row(title="Café"), encoding="latin-1"))
    assert isinstance(next(results), dict)
    with pytest.raises(ValueError, match="not UTF-8"):
        next(results)


def test_a_large_file_is_read_in_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path, *(row(id=str(number), author="x" * 1000) for number in range(5000)))
    tracemalloc.start()
    assert sum(isinstance(result, dict) for result in read_posts(path)) == 5000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 5_000_000
    assert peak < 2_000_000


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_title_that_csv_can_carry_arrives_stripped_and_cut_or_is_bad(tmp_path: Path, text: str) -> None:
    path = tmp_path / "posts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, ["1", text, "", "0", "0", "", "2016-08-04"]])
    (result,) = read_posts(path)
    if "\0" in text or not text.strip():
        assert isinstance(result, BadRow)
    else:
        assert isinstance(result, dict)
        assert result["title"] == text.strip()


@given(content=st.binary(max_size=300), with_header=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_read_reported_or_refused_and_nothing_else(
    tmp_path: Path, content: bytes, with_header: bool
) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(HEADER.encode() + b"\n" + content if with_header else content)
    refusal = str(path)
    try:
        results = list(read_posts(path))
    except ValueError as error:
        refusal, results = str(error), []
    assert refusal.startswith(str(path))
    assert all(isinstance(result, dict | BadRow) for result in results)
