"""The SELECT of the users: their address and name, who counts, who administrates, and who wants the digest."""

from __future__ import annotations

from nightshift.adopt import vocabulary as v
from nightshift.adopt.choices import Choice
from nightshift.adopt.finding import user_columns
from nightshift.adopt.mapped import Mapped
from nightshift.adopt.optin import OptIn, choose_opt_in, outer
from nightshift.adopt.selecting import Chooser, Selected, is_one_of


def select_users(chooser: Chooser, others: list[Mapped]) -> tuple[Selected, OptIn | None]:
    """Return the SELECT of users, and how they choose the digest."""
    mapped, types = chooser.mapped, chooser.types
    selected = Selected(base=mapped)
    selected.columns["id"] = types.id(mapped, mapped.table.id)
    email = chooser.pick(
        "email", "Which column has the address?", v.EMAIL, kinds=("text",), absent="no column has it", is_needed=True
    )
    selected.columns["email"] = types.plain(mapped, email or "")
    selected.names["email"] = email or ""
    selected.columns["name"] = _name(chooser)
    created = chooser.pick(
        "created_at",
        "Which column says when a user signed up?",
        v.CREATED,
        kinds=("moment", "integer"),
        absent="no column says when a user signed up: the report counts no new users",
    )
    selected.columns["created_at"] = types.time(mapped, created) if created else "null()"
    selected.names |= {"created_at": created} if created else {}
    selected.columns["is_verified"] = _is_verified(chooser)
    selected.columns["is_admin"] = _is_admin(chooser, selected, others)
    deleted = chooser.flag(
        "deleted",
        "Which column marks deleted users?",
        v.DELETED,
        is_positive=False,
        reason="a user who is marked as deleted does not exist",
    )
    selected.where += [deleted] if deleted else []
    opt_in = choose_opt_in(chooser, others)
    if opt_in is not None:
        selected.columns["email_digest"] = opt_in.code
        if opt_in.join is not None:
            selected.joins.append(opt_in.join)
    else:
        selected.columns["email_digest"] = "false()"
    return selected, opt_in


def _name(chooser: Chooser) -> str:
    table, types, mapped = chooser.table, chooser.types, chooser.mapped
    first, last = table.named(*v.FIRST, kinds=("text",)), table.named(*v.LAST, kinds=("text",))
    logins = table.named(*v.LOGIN, kinds=("text",))
    if first and last and not table.named(*v.NAME, kinds=("text",)):
        parts = ", ".join(types.plain(mapped, each[0]) for each in (first, last))
        whole = f'func.trim(func.concat_ws(" ", {parts}))'
        made = Choice(
            key="users.name",
            question="",
            proposal=f"{first[0]} {last[0]}",
            reason="the parts of the name" + (f", or else {logins[0]}" if logins else ""),
        )
        chooser.choices.make(made)
        return f'func.coalesce(func.nullif({whole}, ""), {types.plain(mapped, logins[0])})' if logins else whole
    name = chooser.pick(
        "name",
        "Which column has the name?",
        (*v.NAME, *v.LOGIN, *v.FIRST),
        kinds=("text",),
        absent='no column has it: the digest begins with "Hello there"',
        is_sure=True,
    )
    return types.plain(mapped, name) if name else "null()"


def _is_verified(chooser: Chooser) -> str:
    parts = []
    verified = chooser.pick(
        "is_verified",
        "Which column says that the address is confirmed?",
        v.VERIFIED,
        kinds=("flag", "moment", "integer"),
        absent="no column says that an address is confirmed: every user counts as confirmed",
    )
    if verified:
        parts.append(chooser.is_set(verified))
    status = chooser.status("status", "Does this column say which users count?", v.GOOD_USERS)
    parts += [status] if status else []
    active = chooser.flag(
        "active",
        "Which column says that a user may log in?",
        v.ACTIVE,
        is_positive=True,
        reason="a user who is not active gets no mail",
    )
    blocked = chooser.flag(
        "blocked",
        "Which column marks blocked users?",
        v.BLOCKED,
        is_positive=False,
        reason="a user who is blocked gets no mail",
    )
    parts += [part for part in (active, blocked) if part]
    if not parts:
        return "true()"
    return parts[0] if len(parts) == 1 else f"and_({', '.join(parts)})"


def _is_admin(chooser: Chooser, selected: Selected, others: list[Mapped]) -> str:
    table = chooser.table
    roles = [
        (name, good)
        for name in table.named(*v.ROLE, kinds=("text",))
        if (good := v.good(chooser.source.values(table, name), v.ADMINS))
    ]
    flags = table.named(*v.ADMIN, kinds=("flag",))
    if not flags and roles:
        name, good = roles[0]
        choice = Choice(
            key="users.is_admin",
            question="",
            proposal=name,
            reason=f"administrators have {name} = {' or '.join(good)}",
        )
        if chooser.choices.make(choice):
            code = chooser.types.plain(chooser.mapped, name)
            test = is_one_of(code, good)
            return f"func.coalesce({test}, false())" if table.columns[name].is_nullable else test
        return "false()"
    if not flags and (found := _capabilities(chooser, others)):
        selected.joins.append(found[1])
        return found[0]
    admin = chooser.pick(
        "is_admin",
        "Which column says that a user administrates?",
        v.ADMIN,
        kinds=("flag",),
        absent="no column names administrators: the report is stored and mailed to nobody",
    )
    return chooser.is_set(admin) if admin else "false()"


def _capabilities(chooser: Chooser, others: list[Mapped]) -> tuple[str, tuple[Mapped, list[str]]] | None:
    """Return WordPress's administrators: a serialized list in its table of users' metadata."""
    for mapped in others:
        table = mapped.table
        keys, values = table.named(*v.META_KEY, kinds=("text",)), table.named(*v.META_VALUE, kinds=("text",))
        owners = user_columns(table, chooser.table)
        if not (keys and values and owners):
            continue
        found = [key for key in chooser.source.values(table, keys[0]) if key.endswith("capabilities")]
        if len(found) != 1:
            continue
        choice = Choice(
            key="users.is_admin",
            question="",
            proposal=f"{table.name}.{found[0]}",
            reason="administrators have it there",
        )
        if chooser.choices.make(choice) is None:
            return None
        meta = Mapped(table=table, variable="_capabilities")
        join = outer(chooser, meta, owners[0], {keys[0]: found[0]})
        code = f"func.coalesce({chooser.types.plain(meta, values[0])}.contains('\"administrator\"'), false())"
        return code, (meta, join)
    return None
