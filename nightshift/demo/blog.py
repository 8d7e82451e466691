"""A sample blog, generated from a seed: its posts and users, with difficult names and titles, and their activity."""

import re
import unicodedata
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any
from uuid import UUID

from chalicelib.core.clock import from_ms, to_ms

HOUR = 3_600_000
DAY = 24 * HOUR
HOSTILE_EVERY = 12

# Time zone, how the name is written, given names, family names.
CULTURES = [
    ("America/New_York", "{given} {family}", "Grace, Malcolm, Dolores, Sam", "Whitfield, O'Connor, St. John"),
    ("America/Sao_Paulo", "{given} {family}", "João, Conceição, Luís", "Gonçalves, da Silva, Araújo"),
    ("Europe/Dublin", "{given} {family}", "Aoife, Séamus, Niamh, Oisín", "O'Brien, D’Arcy, McCarthy"),
    ("Europe/Paris", "{given} {family}", "Zoë, François, Jean-Luc", "L'Hôpital, Lefèvre, d'Aubigné"),
    ("Europe/Berlin", "{given} {family}", "Jörg, Käthe, Günther", "Müller, Weiß, von der Heide"),
    ("Europe/Warsaw", "{given} {family}", "Łukasz, Małgorzata, Zdzisław", "Wójcik, Zięba, Żak"),
    ("Europe/Istanbul", "{given} {family}", "İpek, Çağla, Oğuz", "Yıldız, Şahin, Öztürk"),
    ("Europe/Kyiv", "{given} {family}", "Олена, Тарас, Оксана", "Шевченко, Коваленко, Бондаренко"),
    ("Europe/Athens", "{given} {family}", "Γιώργος, Νίκος, Δημήτρης", "Παπαδάκης, Αλεξίου, Ιωάννου"),
    ("Africa/Lagos", "{given} {family}", "Ọlájídé, Adaeze, Chidi", "Okonkwo, Adébáyọ̀, Nwosu"),
    ("Africa/Cairo", "{given} {family}", "فاطمة, محمد, ليلى", "الخطيب, منصور, عبد الله"),
    ("Asia/Jerusalem", "{given} {family}", "נועה, יוסף, תמר", "לוי, כהן, בן־דוד"),
    ("Asia/Kolkata", "{given} {family}", "प्रिया, अर्जुन, Ananya", "शर्मा, वर्मा, Iyer"),
    ("Asia/Ho_Chi_Minh", "{family} {given}", "Thị Hồng, Văn Đức, Minh Anh", "Nguyễn, Trần, Đặng"),
    ("Asia/Shanghai", "{family}{given}", "伟, 秀英, 子涵", "王, 李, 欧阳"),
    ("Asia/Tokyo", "{family} {given}", "さくら, 健太, 美咲", "佐藤, 鈴木, 髙橋"),
    ("Asia/Seoul", "{family}{given}", "민준, 서연, 지우", "김, 이, 박"),
    ("Pacific/Auckland", "{given} {family}", "Aroha, Tāne, Mere", "Ngāta, Pōtiki, Walker"),
]
NICKNAMES = ("quiet, paper, northern, little, amber, lucky", "heron, kite, lantern, otter, harbour")
WORDS = {
    "tool": "Postgres, SQLite, Redis, Git, Vim, Python, Rust, HTMX, Terraform, plain HTML, a Raspberry Pi",
    "old": "Jenkins, Kubernetes, MongoDB, WordPress, a shared spreadsheet, microservices, Heroku, Webpack",
    "topic": "backups, being on call, naming things, saying no, code review, patience, small teams, budgets",
    "hobby": "baking sourdough, cycling to work, growing tomatoes, learning Portuguese, cooking for one, "
    "keeping a paper notebook, repairing bicycles, living without a smartphone, writing letters",
    "place": "Lisbon, Kyoto, Tbilisi, the Dolomites, Oaxaca, the Outer Hebrides, Ljubljana, Hội An",
    "gadget": "a loud keyboard, an e-ink tablet, a standing desk, a second-hand ThinkPad, a rice cooker",
    "span": "a week, a month, a winter, a year, three years, a decade",
    "number": "three, four, five, seven, nine, eleven",
    "person": "a nurse, my grandmother, a lighthouse keeper, our support team, a typographer, my daughter",
}
TEMPLATES = [
    "What {span} of {hobby} taught me about {topic}",
    "How we moved from {old} to {tool} in {span}",
    "{tool} is enough for {person}, and for you",
    "We tried {old} for {span} so you don't have to",
    "Living with {gadget}: notes after {span}",
    "{number} things {person} taught me about {topic}",
    "{number} days in {place} with one small bag",
    "Working remotely from {place} with {gadget}",
    "An interview with {person} about {topic}",
    "Explaining {tool} to {person} in {number} drawings",
    "The quiet joy of {hobby} in {place}",
    "Post-mortem: the day {tool} took {old} down",
    "Weekend project: {gadget}, {tool} and too much coffee",
    "Why I went back to {old} after {span} of {tool}",
    "Notes on {topic} from {span} at a tiny company",
    "{hobby}: a guide in {number} mistakes",
    "Debugging {tool} on a night train to {place}",
]
HOSTILE = [
    "How our comments broke: <script>alert(1)</script>",
    "Salt & pepper & R&D: notes from a test kitchen",
    '"Just ship it," she said, and other famous last words',
    "It's the editor's fault, isn't it?",
    "👩‍💻 Pairing, 👨‍👩‍👧‍👦 parenting and 🏳️‍🌈 pride: a week in emoji",
    "למה עברנו לעבוד ארבעה ימים בשבוע",
    "كيف تعلمت البرمجة في الأربعين: قصة قصيرة",
    "Mixed directions: שלום, 2nd edition (مرحبا)!",
    "Ar" + "g" * 180 + "h, the build is red again",
    "Is Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft really a word?",
    "Our templates leak: {{ braces }}, {% raw %}, ${name} and %s, 100% of the time",
    "</title></a><img src=x onerror=\"alert('late')\">",
    "'; DROP TABLE posts; -- and Bobby's other tricks",
    "An invisible \u202eyrros\u202c in the middle of a headline",
]
# The weight of each hour of the day, in UTC.
HOURS = [0.3, 0.2, 0.2, 0.2, 0.3, 1, 8, 22, 40, 44, 38, 30, 24, 34, 38, 32, 26, 22, 18, 16, 14, 10, 5, 2]
WEEKEND_SHARE = 0.45
ASCII = str.maketrans({"ł": "l", "ı": "i", "ß": "ss", "đ": "d", "'": "", "’": ""})
# How long ago a session was last used: weight, and range in milliseconds.
IDLE = [(35, 0, 3 * DAY), (30, 3 * DAY, 30 * DAY), (35, 30 * DAY, 120 * DAY)]
AGENTS = ("Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (iPhone)", "Mozilla/5.0 (Macintosh)", None)
# One user is active every day or two, another every other month.
MIN_GAP_DAYS, MAX_GAP_DAYS = 3, 120

User = Mapping[str, Any]


def seeded(kind: str, seed: int) -> Random:
    """Return a generator for one kind of row, independent of the other kinds."""
    return Random(f"{kind}-{seed}")  # noqa: S311 (repeatable, not secret)


def new_id(rng: Random) -> str:
    """Return a UUID of version 4."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def make_users(count: int, *, now: datetime, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `count` rows of `users`, who joined in the three years before an aware `now`."""
    rng, now_ms = seeded("users", seed), _aware_ms(now)
    for number in range(1, count + 1):
        name, zone = _person(rng)
        handle = _ascii(name, ".") or ".".join(_pick(rng, words) for words in NICKNAMES)
        created = now_ms - rng.randrange(3 * 365 * DAY)
        is_admin = number == 1 or rng.random() < 0.005
        yield {
            "id": new_id(rng),
            "name": name,
            "email": f"{handle}{number}@example.{rng.choice(('com', 'org', 'net'))}",
            "is_verified": rng.random() < 0.8 or is_admin,
            "is_admin": is_admin,
            "email_digest": rng.random() < 0.7,
            "timezone": zone if rng.random() < 0.75 else None,
            "created_at": created,
            "updated_at": rng.randint(created, now_ms),
        }


def make_posts(count: int, *, until: datetime, days: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `count` rows of `posts`, in order, over the `days` before `until`.

    Raises ValueError if `days` is less than 1 or `until` is naive.
    """
    if days < 1:
        raise ValueError(f"Posts need at least 1 day to be spread over, not {days}.")
    rng, start = seeded("posts", seed), _aware_ms(until) - days * DAY
    templates = rng.sample(TEMPLATES, len(TEMPLATES))
    authors = [_person(rng)[0] for _ in range(12)]
    edges = list(accumulate(_weight(start + hour * HOUR) for hour in range(days * 24)))
    for number in range(count):
        # Each post has an equal slice of the total weight, so that no day is empty by chance.
        hour = bisect(edges, (number + rng.random()) / count * edges[-1], hi=len(edges) - 1)
        created = start + hour * HOUR + rng.randrange(HOUR)
        post_id = new_id(rng)
        title = _title(rng, templates[number % len(templates)])
        if number % HOSTILE_EVERY == 5:
            title = HOSTILE[number // HOSTILE_EVERY % len(HOSTILE)]
        slug = "-".join(filter(None, (_ascii(title, "-")[:60].strip("-"), post_id[:8])))
        query = "?ref=digest&page=2" if rng.random() < 0.1 else ""
        views = int(rng.lognormvariate(5.5, 1.2))
        points = int(views * rng.betavariate(1.2, 18))
        yield {
            "id": post_id,
            "title": title,
            "url": f"https://blog.example.com/{slug}{query}" if rng.random() < 0.88 else None,
            "author": rng.choice(authors) if rng.random() < 0.97 else None,
            "points": points,
            "comments": int(points * rng.betavariate(1, 3)),
            "views": views,
            "created_at": created,
        }


def make_sessions(users: Sequence[User], *, now_ms: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield up to four sessions of each user, last used between now and months ago."""
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
    """Yield a token for about every fourth user, valid for an hour, most of them expired."""
    rng = seeded("password-reset-tokens", seed)
    for user in users:
        if rng.random() < 0.25:
            age = rng.randrange(HOUR if rng.random() < 0.1 else 20 * DAY)
            created = max(user["created_at"], now_ms - age)
            yield {"email": user["email"], **_token(rng, created=created, life=HOUR)}


def make_email_verification_tokens(users: Sequence[User], *, now_ms: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a token, valid for a day, for each unverified user: from the sign-up, or from yesterday's reminder."""
    rng = seeded("email-verification-tokens", seed)
    for user in users:
        if not user["is_verified"]:
            is_reminded = rng.random() < 0.2
            created = max(user["created_at"], now_ms - rng.randrange(DAY)) if is_reminded else user["created_at"]
            yield {"user_id": user["id"], **_token(rng, created=created, life=DAY)}


def make_activity(users: Sequence[User], *, first: date, days: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of `activity` for the days from the first one on."""
    rng = seeded("activity", seed)
    for user in users:
        joined = (from_ms(user["created_at"]).date() - first).days
        gap = rng.randrange(MIN_GAP_DAYS, MAX_GAP_DAYS)
        day = max(0, joined) + rng.randrange(gap)
        while day < days:
            yield {"day": (first + timedelta(days=day)).isoformat(), "user_id": user["id"]}
            day += rng.randrange(1, gap)


def _aware_ms(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone.")
    return to_ms(moment)


def _pick(rng: Random, words: str) -> str:
    return rng.choice(words.split(", "))


def _person(rng: Random) -> tuple[str, str]:
    zone, pattern, given, family = rng.choice(CULTURES)
    return pattern.format(given=_pick(rng, given), family=_pick(rng, family)), zone


def _title(rng: Random, template: str) -> str:
    title = template.format(**{slot: _pick(rng, words) for slot, words in WORDS.items()})
    return title[0].upper() + title[1:]


def _weight(slot: int) -> float:
    is_weekend = (slot // DAY + 3) % 7 >= 5  # the epoch was a Thursday, day 3 of a week that starts on Monday
    return HOURS[slot // HOUR % 24] * (WEEKEND_SHARE if is_weekend else 1)


def _ascii(text: str, separator: str) -> str:
    """Return the Latin letters and digits of a text in lower case, its words joined by the separator."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(ASCII)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", separator, plain).strip(separator)


def _token(rng: Random, *, created: int, life: int) -> dict[str, Any]:
    token = f"{rng.getrandbits(256):064x}"
    return {"id": new_id(rng), "token": token, "created_at": created, "expires_at": created + life}
