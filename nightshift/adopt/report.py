"""What an adopted database needs and gives: a count of each task, the rights, and the missing indexes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime

from chalicelib.core import grants
from nightshift.adopt import indexes, preview
from nightshift.adopt.database import Source
from nightshift.adopt.proposal import Proposal


def lines(source: Source, proposal: Proposal, text: str, *, at: datetime, user: str) -> Iterator[str]:
    """Yield what to know: notes, what each task would do, the GRANTs, and the indexes."""
    if proposal.collisions:
        yield ""
        named = ", ".join(f"{proposal.prefix}{name}" for name in proposal.collisions)
        yield f"The database has tables called like Nightshift's: {', '.join(proposal.collisions)}. Nightshift's own"
        yield f"begin with {proposal.prefix}: {named}. Enqueue jobs as rows of {proposal.prefix}jobs."
    if proposal.notes:
        yield ""
        yield from (f"Note: {note}." for note in proposal.notes)
    yield ""
    yield f"What the tasks would do at {at:%Y-%m-%d %H:%M} UTC; nothing was written to the database:"
    counted = preview.count(text, at=at, environment=os.environ)
    yield from (f"  {task:17} {sentence}" for task, sentence in counted)
    yield ""
    yield "Rights of the functions' user; run these as an administrator of the database:"
    account = grants.account_of(user)
    yield f"  {grants.new_user(account)};"
    for right in grants.lacking(source.name, on_mariadb=source.is_mariadb):
        yield f"  {right.grant(account)};"
    yield ""
    missing = indexes.missing(proposal)
    yield "Missing indexes; each is optional, and worth it for large tables:" if missing else "No index is missing."
    for need in missing:
        yield f"  {need.statement}"
        yield f"    so that {need.purpose}; {need.cost}"
