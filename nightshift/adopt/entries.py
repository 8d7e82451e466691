"""The SELECT of the posts: what is published, since when, by whom, and how it is liked."""

from __future__ import annotations

from nightshift.adopt import vocabulary as v
from nightshift.adopt.choices import Choice
from nightshift.adopt.finding import user_columns
from nightshift.adopt.mapped import Mapped
from nightshift.adopt.selecting import Chooser, Selected


def select_posts(chooser: Chooser, users: Mapped, name_of_user: str) -> Selected:
    """Return the SELECT of posts. `name_of_user` is the code of the users' name, for posts that refer to a user."""
    mapped, types, table = chooser.mapped, chooser.types, chooser.table
    selected = Selected(base=mapped)
    selected.columns["id"] = types.id(mapped, table.id)
    title = chooser.pick(
        "title", "Which column has the title?", v.TITLE, kinds=("text",), absent="no column has it", is_needed=True
    )
    selected.columns["title"] = types.plain(mapped, title or "")
    url = chooser.pick(
        "url",
        "Which column has the whole address of the page?",
        v.URL,
        kinds=("text",),
        absent="no column has it: links lead to SITE_URL/posts/<id>",
        is_sure=True,
    )
    selected.columns["url"] = types.plain(mapped, url) if url else "null()"
    selected.columns["author"] = _author(chooser, selected, users, name_of_user)
    for concept, names in (("points", v.POINTS), ("comments", v.COMMENTS), ("views", v.VIEWS)):
        found = chooser.pick(
            concept, f"Which column counts {concept}?", names, kinds=("integer",), absent="not counted", is_sure=True
        )
        selected.columns[concept] = types.plain(mapped, found) if found else "literal(0)"
        selected.names |= {concept: found} if found else {}
    created = chooser.pick(
        "created_at",
        "Which column says when a post was published?",
        (*v.PUBLISHED, *v.CREATED),
        kinds=("moment", "integer"),
        absent="no column says when a post was published",
        is_needed=True,
    )
    selected.columns["created_at"] = types.time(mapped, created or "")
    selected.names["created_at"] = created or ""
    _only_published(chooser, selected, created or "")
    return selected


def _author(chooser: Chooser, selected: Selected, users: Mapped, name_of_user: str) -> str:
    table = chooser.table
    owners = user_columns(table, users.table)
    owners = owners or [
        name
        for name in table.named(*v.AUTHOR_ID)
        if table.columns[name].kind == users.table.columns[users.table.id].kind and table.columns[name].kind != "text"
    ]
    if table.named(*v.AUTHOR, kinds=("text",)) or not owners or name_of_user == "null()":
        name = chooser.pick(
            "author", "Which column has the author?", v.AUTHOR, kinds=("text",), absent="no column", is_sure=True
        )
        return chooser.types.plain(chooser.mapped, name) if name else "null()"
    choice = Choice(
        key="posts.author", question="", proposal=owners[0], reason=f"the name of the user in {users.table.name}"
    )
    if chooser.choices.make(choice) is None:
        return "null()"
    key = users.table.id
    ours, theirs = chooser.types.id(chooser.mapped, owners[0]), chooser.types.id(users, key)
    selected.joins.append((users, [f"{theirs} == {ours}"]))
    return name_of_user


def _only_published(chooser: Chooser, selected: Selected, created: str) -> None:
    flags = [name for name in v.IS_PUBLISHED if name not in {chooser.table.normal(created)}]
    conditions = (
        chooser.status("status", "Does this column say which posts are published?", v.GOOD_POSTS),
        chooser.status("type", "Does this column say which rows are posts?", v.GOOD_TYPES, v.TYPE),
        chooser.flag(
            "published",
            "Which column marks published posts?",
            flags,
            is_positive=True,
            reason="only published posts are sent",
        ),
        chooser.flag(
            "draft", "Which column marks drafts?", v.IS_DRAFT, is_positive=False, reason="drafts are not sent"
        ),
        chooser.flag(
            "deleted",
            "Which column marks deleted posts?",
            v.DELETED,
            is_positive=False,
            reason="a post that is marked as deleted does not exist",
        ),
    )
    selected.where += [condition for condition in conditions if condition]
