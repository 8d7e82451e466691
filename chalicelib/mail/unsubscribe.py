"""The unsubscribe link of RFC 8058: a token that says who and from what, signed, and valid for ever."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit, urlunsplit

SIGNATURE_BYTES = 16


def _signature(secret: str, subject: bytes) -> bytes:
    return hmac.digest(secret.encode(), b"unsubscribe\n" + subject, hashlib.sha256)[:SIGNATURE_BYTES]


def sign(user_id: str, mailing: str, *, secrets: Sequence[str]) -> str:
    """Return the token by which this user leaves this mailing, signed with the first of the secrets."""
    subject = f"{mailing}\n{user_id}".encode()
    return _encode(_signature(secrets[0], subject) + subject)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def verify(token: str, *, secrets: Sequence[str]) -> tuple[str, str] | None:
    """Return (user id, mailing) of a token signed with any of the secrets, None for every other text.

    Tokens never expire: a person may unsubscribe from an old mail. To change the secret, put the new one first.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    if _encode(raw) != token:
        # Base64 has many spellings of the same bytes; a token has one.
        return None
    signature, subject = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not any(hmac.compare_digest(signature, _signature(secret, subject)) for secret in secrets):
        return None
    mailing, _, user_id = subject.decode().partition("\n")
    return user_id, mailing


def link(base_url: str, token: str) -> str:
    """Return the address that a recipient opens, or a mail client posts to."""
    parts = urlsplit(base_url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}{urlencode({'token': token})}"))
