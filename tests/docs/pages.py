"""The pages that people read, and what stands on them: headings, links, pictures and blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "infra", "examples", "bench", "scale", "soak")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page, the line that it begins in, and its language."""

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        """What a test of it is called."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link or, with an exclamation mark, a picture: its words, and where it leads."""

    is_picture: bool
    words: str
    target: str


@dataclass(frozen=True)
class Page:
    """One Markdown file of the project."""

    path: Path

    @property
    def name(self) -> str:
        """Its path from the root of the project."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """It without fenced blocks."""
        return FENCE.sub("", self.text)

    @property
    def blocks(self) -> Iterator[Block]:
        """The fenced blocks in order."""
        for found in FENCE.finditer(self.text):
            line = self.text.count("\n", 0, found.start()) + 1
            yield Block(page=self.name, line=line, language=found[1], text=found[2])

    @property
    def code(self) -> list[str]:
        """What stands between backticks, on one line each."""
        return [" ".join(found[2].split()) for found in CODE.finditer(self.prose)]

    @property
    def anchors(self) -> list[str]:
        """What `#…` may name, as GitHub makes it of the headings."""
        return [anchor_of(found[1]) for found in HEADING.finditer(self.prose)]

    @property
    def links(self) -> Iterator[Link]:
        """Links and pictures, those in the words of a link too."""
        yield from _links_in(CODE.sub("", self.prose))


def _links_in(text: str) -> Iterator[Link]:
    for mark, words, target in LINK.findall(text):
        yield Link(is_picture=mark == "!", words=words, target=target)
        yield from _links_in(words)


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    words = LINK.sub(r"\2", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def pages() -> list[Page]:
    """Return every page, those of other people's packages left out."""
    found = [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
    return [Page(path) for path in sorted(found) if "node_modules" not in path.parts]


PAGES = pages()


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of these languages, of every page."""
    return [block for page in PAGES for block in page.blocks if block.language in languages]
