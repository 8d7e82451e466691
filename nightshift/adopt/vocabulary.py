"""How applications call what Nightshift reads. Each list is in the order of preference."""

from collections.abc import Collection

# The weight of a table's noun, and of one that only has such a word in its name.
WEAK = 3
USERS = {"user": 6, "customuser": 6, "appuser": 6} | dict.fromkeys(
    ("member", "customer", "person", "account", "subscriber", "reader", "client", "student", "employee", "profile"), 4
)
POSTS = dict.fromkeys(("post", "article", "story", "blogpost"), 6) | {
    "entry": 5,
    "news": 5,
    "publication": 4,
    "node": 4,
}
POSTS |= dict.fromkeys(("thread", "topic", "question", "blog", "content", "page", "episode", "recipe", "video"), 3)
SESSIONS = {"session": 6, "login": 3, "device": 2, "visit": 2}
# Words of tables about users or posts that are not these themselves.
NOT_USERS = frozenset(
    [
        "token",
        "reset",
        "verification",
        "invitation",
        "invite",
        "session",
        "log",
        "history",
        "audit",
        "backup",
        "archive",
        "import",
        "job",
        "pivot",
    ]
)
NOT_POSTS = frozenset(
    [
        "comment",
        "category",
        "tag",
        "meta",
        "revision",
        "version",
        "translation",
        "image",
        "attachment",
        "log",
        "history",
        "like",
        "vote",
        "view",
        "job",
    ]
)
TOKENS = frozenset(
    [
        "session",
        "sessions",
        "token",
        "tokens",
        "reset",
        "resets",
        "verification",
        "verifications",
        "confirmation",
        "confirmations",
        "otp",
        "otps",
        "nonce",
        "nonces",
    ]
)
# Users of a back office rather than of the site.
STAFF = frozenset(["admin", "staff", "backend", "api", "system"])
RESETS = frozenset(["reset", "resets", "verification", "verifications", "confirmation", "confirmations"])

EMAIL = ("email", "email_address", "mail", "mail_address", "e_mail", "emailaddress", "primary_email", "contact_email")
NAME = ("display_name", "full_name", "name", "real_name", "displayname", "fullname")
FIRST, LAST = ("first_name", "firstname", "given_name"), ("last_name", "lastname", "family_name", "surname")
LOGIN = ("username", "user_name", "nickname", "nick", "handle", "login", "screen_name", "nicename")
PASSWORD = ("password", "password_hash", "encrypted_password", "pass", "passwd", "hashed_password", "password_digest")
CREATED = (
    *("created_at", "created", "date_created", "created_on", "creation_date", "date_joined", "joined_at", "joined"),
    *("registered_at", "registered", "registration_date", "signed_up_at", "signup_date", "signup_at", "inserted_at"),
    *("member_since", "added_at", "create_time", "created_time", "created_timestamp", "ctime", "reg_date", "regdate"),
    *("register_date", "registered_on", "reg_time", "timestamp", "time"),
)
PUBLISHED = (
    *("published_at", "published_on", "publish_date", "publish_at", "published", "pub_date", "date_published"),
    *("publication_date", "publish_up", "posted_at", "posted_on", "released_at", "live_at", "date_gmt", "date"),
)
VERIFIED = (
    *("email_verified_at", "email_verified", "is_verified", "verified_at", "verified", "is_email_verified"),
    *("email_confirmed_at", "email_confirmed", "confirmed_at", "confirmed", "is_confirmed", "activated_at"),
    *("activated", "verified_on", "confirmed_on"),
)
ACTIVE = ("is_active", "active", "enabled", "is_enabled")
BLOCKED = (
    *("is_banned", "banned", "banned_at", "is_blocked", "blocked", "block", "blocked_at", "suspended", "is_suspended"),
    *("suspended_at", "disabled", "is_disabled", "disabled_at", "deactivated_at", "is_deactivated"),
)
DELETED = (
    *("deleted_at", "deleted", "is_deleted", "discarded_at", "removed_at", "removed", "is_removed", "date_deleted"),
    *("deleted_on", "trashed_at", "archived_at"),
)
STATUS = ("status", "state", "account_status", "publication_status", "workflow_state")
TYPE = ("type", "kind")
ADMIN = ("is_admin", "admin", "is_superuser", "superuser", "is_administrator", "is_staff", "staff")
ROLE = ("role", "user_role", "account_type", "type", "user_type", "access_level")
TITLE = ("title", "headline", "subject", "heading", "name", "caption")
URL = ("url", "link", "permalink", "canonical_url", "href", "guid")
AUTHOR = ("author", "author_name", "byline", "writer", "posted_by_name")
AUTHOR_ID = (
    "author_id",
    "user_id",
    "author",
    "owner_id",
    "creator_id",
    "created_by",
    "poster_id",
    "member_id",
    "writer_id",
)
BODY = ("body", "content", "text", "html", "markdown", "excerpt", "body_html", "summary")
POINTS = ("points", "score", "votes", "upvotes", "likes", "likes_count", "like_count", "votes_count", "vote_count")
COMMENTS = ("comments_count", "comment_count", "comments", "num_comments", "replies_count", "reply_count")
VIEWS = ("views", "view_count", "views_count", "hits", "reads", "read_count", "visits", "page_views", "impressions")
IS_PUBLISHED = ("is_published", "published", "visible", "is_visible", "is_public", "public", "live", "is_live")
IS_DRAFT = ("is_draft", "draft", "hidden", "is_hidden", "unlisted", "is_private", "private")
USED = (
    *("last_activity", "last_active_at", "last_seen_at", "last_used_at", "last_accessed_at", "last_seen", "last_used"),
    *("last_access", "last_visit", "accessed_at", "access_time", "updated_at", "updated", "modified_at"),
    *("refreshed_at", "time", "timestamp"),
)
EXPIRES = (
    *("expires_at", "expires", "expire_date", "expiry_date", "expires_on", "expiry", "expiration", "expire_at"),
    *("expiration_date", "valid_until", "expired_at", "expiry_time", "expires_in"),
)
SETTINGS = ("settings", "preferences", "options", "notifications", "notification_settings", "meta", "metadata", "prefs")
META_KEY, META_VALUE = ("meta_key", "key", "name", "setting", "option"), ("meta_value", "value", "enabled")

GOOD_USERS = frozenset({"active", "confirmed", "verified", "enabled", "approved", "activated", "registered", "ok"})
GOOD_POSTS = frozenset({"published", "publish", "public", "live", "visible", "approved", "active", "posted"})
GOOD_TYPES = frozenset({"post", "article", "story", "blog", "blog_post"})
ADMINS = frozenset({"admin", "administrator", "superadmin", "super_admin", "role_admin", "owner"})
DAILY = frozenset({"daily", "on", "yes", "true", "1", "enabled", "subscribed", "all", "every_day", "opted_in"})
NEVER = frozenset({"never", "none", "off", "no", "false", "0", "disabled", "unsubscribed", "opted_out"})
# Who has this wants the digest: the first is sure, the others are other mails that people asked for.
OPT_IN = ("digest", "newsletter", "subscribed", "optin")
# Times of mails rather than of choices, and other media.
NO_CHOICE = frozenset(["sent", "last", "next", "due", "token", "marketing", "sms", "push", "phone", "count", "id"])
# These say something near it, which only the application's owner can judge.
MAYBE = frozenset(["marketing", "notification", "notifications", "mailing", "optin", "emails", "unsubscribed"])
NEGATIVE = frozenset(["unsubscribed", "optout", "no", "disabled", "never", "muted"])


def good(values: Collection[str], known: Collection[str]) -> list[str]:
    """Return the values that are known, whatever their case, in order."""
    return sorted(value for value in values if value.lower().replace("-", "_").replace(" ", "_") in known)
