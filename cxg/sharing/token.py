"""The token of a link: which dataset it opens and until when, signed with the secret key of the site."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from itsdangerous import BadData, URLSafeSerializer

PARAMETER = "share"
"""Query parameter that carries a token."""

LEAST_KEY_BYTES = 32
_SALT = "cxg.sharing.1"
_ID_BYTES = 9
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """What a link opens.

    Attributes
    ----------
    id : str
        Name of the link's record; a link without a record opens nothing.
    dataset : str
    until : datetime
    """

    id: str
    dataset: str
    until: datetime


def new_share(dataset: str, until: datetime) -> Share:
    """Make a share with an id of its own."""
    return Share(secrets.token_urlsafe(_ID_BYTES), dataset, until)


def sign(share: Share, key: str) -> str:
    """Return the token of a share, safe in a URL."""
    return str(_serializer(key).dumps([share.id, share.dataset, int(share.until.timestamp())]))


def read_token(token: str, key: str) -> Share | None:
    """Return what a token opens; None where it was not signed with this key."""
    if len(token) > _LONGEST:
        return None
    try:
        found = _serializer(key).loads(token)
        share_id, dataset, until = found
        return Share(str(share_id), str(dataset), datetime.fromtimestamp(int(until), UTC))
    except (BadData, ValueError, TypeError, OverflowError, OSError):
        return None


def key_problem(key: str | None) -> str | None:
    """Say why links cannot be signed with a key, or None."""
    make = 'python3 -c "import secrets; print(secrets.token_hex(32))"'
    if key is None:
        return f"there is no secret key: set CXG_SECRET_KEY to what {make} prints"
    if len(key.encode()) < LEAST_KEY_BYTES or len(set(key)) < 10:
        return f"the secret key is too easy to guess: use {LEAST_KEY_BYTES} characters or more, made by {make}"
    return None


def _serializer(key: str) -> URLSafeSerializer:
    return URLSafeSerializer(key, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"})
