"""What readers of a blog leave behind, made from a seed: sessions, tokens, and the days on which they were active."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

from chalicelib.core.clock import from_ms
from nightshift.demo.chance import new_id, seeded

HOUR = 3_600_000
DAY = 24 * HOUR
# How long ago a session was used last: its weight, and the range in milliseconds.
IDLE = [(35, 0, 3 * DAY), (30, 3 * DAY, 30 * DAY), (35, 30 * DAY, 120 * DAY)]
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)", "Mozilla/5.0 (Macintosh)", None)
# One reader comes every day or two, another every other month.
SHORTEST_GAP_DAYS, LONGEST_GAP_DAYS = 3, 120

User = Mapping[str, Any]


def make_sessions(users: Sequence[User], *, now_ms: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield up to four sessions of each user, some of which were used yesterday and some not for months."""
    rng = seeded("sessions", seed)
    for user in users:
        for _ in range(rng.randrange(5)):
            ((_, latest, earliest),) = rng.choices(IDLE, weights=[weight for weight, _, _ in IDLE])
            used = max(user["created_at"], now_ms - rng.randrange(latest, earliest))
            created = max(user["created_at"], used - rng.randrange(20 * DAY))
            yield {
                "id": new_id(rng),
                "user_id": user["id"],
                "user_agent": rng.choice(AGENTS),
                "created_at": created,
                "updated_at": used,
            }


def make_password_reset_tokens(users: Sequence[User], *, now_ms: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a token for every fourth user or so, good for an hour, most of them expired."""
    rng = seeded("password-reset-tokens", seed)
    for user in users:
        if rng.random() < 0.25:
            age = rng.randrange(HOUR if rng.random() < 0.1 else 20 * DAY)
            created = max(user["created_at"], now_ms - age)
            yield {"email": user["email"], **_token(rng, created=created, life=HOUR)}


def make_email_verification_tokens(users: Sequence[User], *, now_ms: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a token, good for a day, for each user who is not verified: of the sign-up, or of yesterday's reminder."""
    rng = seeded("email-verification-tokens", seed)
    for user in users:
        if not user["is_verified"]:
            is_reminded = rng.random() < 0.2
            created = max(user["created_at"], now_ms - rng.randrange(DAY)) if is_reminded else user["created_at"]
            yield {"user_id": user["id"], **_token(rng, created=created, life=DAY)}


def make_activity(users: Sequence[User], *, first: date, days: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row of `activity` for each user and day, from the first day on, as if each had been recorded then."""
    rng = seeded("activity", seed)
    for user in users:
        joined = (from_ms(user["created_at"]).date() - first).days
        gap = rng.randrange(SHORTEST_GAP_DAYS, LONGEST_GAP_DAYS)
        day = max(0, joined) + rng.randrange(gap)
        while day < days:
            yield {"day": (first + timedelta(days=day)).isoformat(), "user_id": user["id"]}
            day += rng.randrange(1, gap)


def _token(rng: Random, *, created: int, life: int) -> dict[str, Any]:
    token = f"{rng.getrandbits(256):064x}"
    return {"id": new_id(rng), "token": token, "created_at": created, "expires_at": created + life}
