"""Who asks, as an AWS load balancer says after it has signed a visitor in with OpenID Connect.

It sends the user's claims in the header `x-amzn-oidc-data`, signed with a key that its region publishes:
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
"""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt
from cachetools import LRUCache, TTLCache
from flask import Request

from cxg.access import ANONYMOUS, Visitor
from cxg.config import LoadBalancer
from cxg.errors import StorageUnavailable

_HEADER = "X-Amzn-Oidc-Data"
_ALGORITHM = "ES256"
_KID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_TOKEN_MOST, _KEY_MOST = 16 << 10, 8 << 10
_FETCH_S, _PAUSE_S, _UNKNOWN_S = 3.0, 0.5, 60.0
_KEYS_MOST = 64

Fetch = Callable[[str], bytes | None]


def fetch_key(url: str) -> bytes | None:
    """Fetch a public key; None when there is none of that name.

    Raises
    ------
    OSError
        The endpoint did not answer.
    """
    try:
        with urllib.request.urlopen(url, timeout=_FETCH_S) as answer:  # noqa: S310  (https, as the configuration checks)
            content: bytes = answer.read(_KEY_MOST)
            return content
    except urllib.error.HTTPError as error:
        if error.code in (400, 403, 404):
            return None
        raise


class TokenReader:
    """Reads and checks the tokens of one load balancer; keeps the public keys.

    Parameters
    ----------
    settings : LoadBalancer
    fetch : callable
        Fetches a key by its URL; replaced in tests.
    clock : callable
        Seconds; replaced in tests.
    """

    def __init__(
        self, settings: LoadBalancer, fetch: Fetch = fetch_key, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._fetch, self._clock = settings, fetch, clock
        self._lock = threading.Lock()
        self._fetched_s = float("-inf")
        self._keys: LRUCache[str, bytes] = LRUCache(_KEYS_MOST)
        self._unknown: TTLCache[str, bool] = TTLCache(_KEYS_MOST, _UNKNOWN_S, clock)

    def identify(self, request: Request) -> Visitor:
        """Say who sends a request: anonymous unless its token holds in every respect.

        Raises
        ------
        StorageUnavailable
            The key of the token cannot be fetched now.
        """
        token = request.headers.get(_HEADER, "")
        if not token or len(token) > _TOKEN_MOST:
            return ANONYMOUS
        try:
            # What it says is checked again once the signature is: this spares fetching keys for others' tokens.
            header = jwt.get_unverified_header(token)
            key = self._key(str(header.get("kid", ""))) if self._is_ours(header) else None
            if key is None:
                return ANONYMOUS
            found = jwt.decode_complete(token, key, algorithms=[_ALGORITHM], options={"verify_aud": False})
        except (jwt.PyJWTError, ValueError, TypeError):
            return ANONYMOUS
        header, claims = found["header"], found["payload"]
        is_ours = self._is_ours(header) and claims.get("iss", self._settings.issuer) == self._settings.issuer
        return self._visitor(claims) if is_ours else ANONYMOUS

    def _is_ours(self, header: dict[str, Any]) -> bool:
        settings, ends_s = self._settings, header.get("exp")
        return (
            (header.get("alg"), header.get("signer")) == (_ALGORITHM, settings.signer)
            and (header.get("iss"), header.get("client")) == (settings.issuer, settings.client)
            and isinstance(ends_s, int)
            and time.time() < ends_s
        )

    def _visitor(self, claims: dict[str, Any]) -> Visitor:
        user, email = claims.get(self._settings.user_claim), claims.get("email")
        groups = claims.get(self._settings.groups_claim) or ()
        if not isinstance(user, str) or not user:
            return ANONYMOUS
        is_verified = claims.get("email_verified", True) in (True, "true")
        groups = [one for one in groups if isinstance(one, str)] if isinstance(groups, list) else []
        return Visitor(user, email if isinstance(email, str) and is_verified else None, frozenset(groups))

    def _key(self, kid: str) -> bytes | None:
        if not _KID.fullmatch(kid) or kid in self._unknown:
            return None
        key = self._keys.get(kid)
        if key is not None:
            return key
        with self._lock:
            key = self._keys.get(kid)
            return key if key is not None else self._fetch_now(kid)

    def _fetch_now(self, kid: str) -> bytes | None:
        """Fetch a key, seldom enough that made-up names of keys cost others little."""
        if self._clock() - self._fetched_s < _PAUSE_S:
            raise StorageUnavailable("The sign-in cannot be checked now; try again soon.")
        try:
            key = self._fetch(f"{self._settings.keys_address}{kid}")
        except OSError as error:
            raise StorageUnavailable("The sign-in cannot be checked now; try again soon.") from error
        finally:
            self._fetched_s = self._clock()
        if key is None:
            self._unknown[kid] = True
        else:
            self._keys[kid] = key
        return key
