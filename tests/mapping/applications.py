"""Applications whose tables are built in other ways, each with the application.py that maps them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Application:
    """Its tables and rows as SQL for MySQL, its mapping, and the id of the reader whom a digest must reach."""

    sql: str
    mapping: str
    reader: str


# 3 August 2016 at 12:00 UTC, which is in the digest of the 4th.
HEAD = """
from datetime import timedelta
from sqlalchemy import (
    Boolean, Column, Integer, MetaData, String, Table, Text, false, func, literal, null, select, update
)
from chalicelib.columns import Id, IntegerId, Millis, Moment, Seconds, UuidId, absent

metadata = MetaData()
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}
created_if_missing = ()
unverified_users = None
"""

# Like Laravel's: numbers as ids, TIMESTAMPs, sessions in epoch seconds, a `jobs` table of its own.
NUMBERS = Application(
    sql="""
CREATE TABLE users (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL,
    email VARCHAR(255) NOT NULL UNIQUE, email_verified_at TIMESTAMP NULL, role VARCHAR(20) NOT NULL DEFAULT 'reader',
    settings JSON NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL
);
CREATE TABLE articles (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, headline VARCHAR(200) NOT NULL,
    user_id BIGINT UNSIGNED NOT NULL, created_at TIMESTAMP(3) NULL, KEY articles_created_at (created_at)
);
CREATE TABLE sessions (
    id VARCHAR(255) NOT NULL PRIMARY KEY, user_id BIGINT UNSIGNED NULL, payload LONGTEXT NOT NULL,
    last_activity INT NOT NULL, KEY sessions_last_activity_index (last_activity)
);
CREATE TABLE jobs (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, queue VARCHAR(255), payload LONGTEXT);
SET time_zone = '+00:00';
INSERT INTO users (id, name, email, email_verified_at, role, settings, created_at) VALUES
    (9, 'Ann', 'ann@example.com', '2016-01-01', 'admin', '{"digest": true}', '2016-07-02 10:00:00'),
    (10, 'Bob', 'bob@example.com', NULL, 'reader', '{"digest": true}', '2016-07-03 10:00:00'),
    (11, 'Cy', 'cy@example.com', '2016-01-01', 'reader', '{"digest": false}', '2016-07-31 23:59:59'),
    (12, 'Di', 'di@example.com', '2016-01-01', 'reader', NULL, '2016-08-01 00:00:00');
INSERT INTO articles (headline, user_id, created_at) VALUES
    ('Too early', 9, '2016-08-02 23:59:59.999'), ('Hello', 9, '2016-08-03 00:00:00'),
    ('World', 9, '2016-08-03 23:59:59.999'), ('Too late', 9, '2016-08-04 00:00:00');
INSERT INTO sessions VALUES
    ('a', 9, '', UNIX_TIMESTAMP('2016-08-03 12:00:00')), ('b', 9, '', UNIX_TIMESTAMP('2016-08-03 13:00:00')),
    ('c', NULL, '', UNIX_TIMESTAMP('2016-08-03 12:00:00')), ('d', 11, '', UNIX_TIMESTAMP('2016-06-03 12:00:00'));
""",
    mapping="""
TABLE_PREFIX = "nightshift_"
_users = Table(
    "users", metadata, Column("id", IntegerId(), primary_key=True), Column("name", String(255)),
    Column("email", String(255)), Column("email_verified_at", Moment()), Column("role", String(20)),
    Column("settings", Text), Column("created_at", Moment()),
)
_choice = func.json_unquote(func.json_extract(_users.c.settings, "$.digest"))
users = select(
    _users.c.id, _users.c.name, _users.c.email, _users.c.created_at,
    _users.c.email_verified_at.is_not(None).label("is_verified"),
    (_users.c.role == "admin").label("is_admin"),
    func.coalesce(_choice == "true", false()).label("email_digest"),
).subquery("readers")
_articles = Table(
    "articles", metadata, Column("id", IntegerId(), primary_key=True), Column("headline", String(200)),
    Column("user_id", IntegerId()), Column("created_at", Moment()),
)
posts = (
    select(
        _articles.c.id, _articles.c.headline.label("title"), null().label("url"), _users.c.name.label("author"),
        literal(0).label("points"), literal(0).label("comments"), literal(0).label("views"), _articles.c.created_at,
    )
    .join_from(_articles, _users, _users.c.id == _articles.c.user_id)
    .subquery("posts")
)
sessions = Table(
    "sessions", metadata, Column("id", String(255), primary_key=True), Column("user_id", IntegerId()),
    Column("last_activity", Seconds(), key="updated_at"),
)
password_reset_tokens = absent("email")
email_verification_tokens = absent("user_id")
expiring = {sessions.c.updated_at: timedelta(days=30)}


def opt_out(connection, ids):
    chosen = _users.c.id.in_(ids), _choice == "true"
    off = func.json_set(_users.c.settings, "$.digest", False)
    return connection.execute(update(_users).where(*chosen).values(settings=off)).rowcount
""",
    reader="9",
)

# Bytes as ids, DATETIMEs of Berlin's clock, the digest's choice in another table, a status as an ENUM, no sessions.
BYTES = Application(
    sql="""
CREATE TABLE members (
    id BINARY(16) NOT NULL PRIMARY KEY, display_name VARCHAR(100) NOT NULL, mail VARCHAR(191) NOT NULL,
    status ENUM('new', 'confirmed', 'banned') NOT NULL, is_staff TINYINT(1) NOT NULL, joined DATETIME(6) NOT NULL
);
CREATE TABLE preferences (member_id BINARY(16) NOT NULL PRIMARY KEY, wants_digest TINYINT(1) NOT NULL);
CREATE TABLE stories (
    id BINARY(16) NOT NULL PRIMARY KEY, title VARCHAR(200) NOT NULL, score INT NOT NULL, hits INT NOT NULL,
    published DATETIME NOT NULL, KEY stories_published (published)
);
INSERT INTO members VALUES
    (X'41111111111111118111111111111111', 'Ann', 'ann@example.com', 'confirmed', 1, '2016-07-01 01:59:59'),
    (X'42222222222222228222222222222222', 'Bob', 'bob@example.com', 'banned', 0, '2016-07-01 02:00:00'),
    (X'43333333333333338333333333333333', 'Cy', 'cy@example.com', 'confirmed', 0, '2016-07-05 02:00:00');
INSERT INTO preferences
    SELECT id, 1 FROM members WHERE display_name <> 'Cy';
INSERT INTO stories VALUES
    (X'00000000000000000000000000000001', 'Too early', 1, 1, '2016-08-03 01:59:59'),
    (X'00000000000000000000000000000002', 'Hello', 1, 1, '2016-08-03 02:00:00'),
    (X'00000000000000000000000000000003', 'World', 9, 1, '2016-08-04 01:59:59'),
    (X'00000000000000000000000000000004', 'Too late', 1, 1, '2016-08-04 02:00:00');
""",
    mapping="""
TABLE_PREFIX = ""
_members = Table(
    "members", metadata, Column("id", UuidId(swapped=True), primary_key=True), Column("display_name", String(100)),
    Column("mail", String(191)), Column("status", String(10)), Column("is_staff", Boolean),
    Column("joined", Moment("Europe/Berlin")),
)
_preferences = Table(
    "preferences", metadata, Column("member_id", UuidId(swapped=True), primary_key=True),
    Column("wants_digest", Boolean)
)
users = (
    select(
        _members.c.id, _members.c.display_name.label("name"), _members.c.mail.label("email"),
        _members.c.joined.label("created_at"), (_members.c.status == "confirmed").label("is_verified"),
        _members.c.is_staff.label("is_admin"),
        func.coalesce(_preferences.c.wants_digest, false()).label("email_digest"),
    )
    .outerjoin_from(_members, _preferences, _preferences.c.member_id == _members.c.id)
    .subquery("readers")
)
_stories = Table(
    "stories", metadata, Column("id", UuidId(swapped=True), primary_key=True), Column("title", String(200)),
    Column("score", Integer), Column("hits", Integer), Column("published", Moment("Europe/Berlin")),
)
posts = select(
    _stories.c.id, _stories.c.title, null().label("url"), null().label("author"), _stories.c.score.label("points"),
    literal(0).label("comments"), _stories.c.hits.label("views"), _stories.c.published.label("created_at"),
).subquery("posts")
sessions = absent("user_id", "created_at", "updated_at")
password_reset_tokens = absent("email")
email_verification_tokens = absent("user_id")
expiring = {}


def opt_out(connection, ids):
    chosen = _preferences.c.member_id.in_(ids), _preferences.c.wants_digest
    return connection.execute(update(_preferences).where(*chosen).values(wants_digest=False)).rowcount
""",
    reader="11111111-1111-4111-8111-111111111111",
)
