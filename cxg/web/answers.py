"""Encoded answers: made once, compressed once, kept in memory bounded in bytes.

A data answer depends only on the files of its dataset and the URL, so it is stored under
(fingerprint, path, query, encoding) and never expires: when the dataset is replaced its
fingerprint changes, and the old answers fall out as the least recently used.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from cachetools import LRUCache
from isal import isal_zlib
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from cxg.stalls import stalls

GZIP, IDENTITY = "gzip", "identity"
Key = tuple[str, str, str, str]
"""(fingerprint, path, query, encoding)."""

# Below this a compressed answer saves no packet; the limit of the published server.
_COMPRESS_FROM_BYTES = 500
_GZIP_LEVEL = 1
_GZIP_WBITS = 31
# Compressed to more than this share an answer is sent as it is: random-looking numbers, which gain
# little and cost both sides time. A piece of a large answer shows it.
_WORTHWHILE = 0.8
_PIECE_BYTES = 16 << 10
_ENTRY_OVERHEAD_BYTES = 700
_WEB_TYPES = (
    "application/octet-stream",
    "application/json",
    "text/",
    "image/svg",
    "font/ttf",
    "application/javascript",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A body, whole or in parts, and its content type, before compression."""

    content: bytes | Sequence[bytes | memoryview]
    content_type: str

    @property
    def parts(self) -> Sequence[bytes | memoryview]:
        """The body; a large answer is not joined before it is compressed."""
        return (self.content,) if isinstance(self.content, bytes) else self.content

    @property
    def body(self) -> bytes:
        """The body as a whole."""
        return self.content if isinstance(self.content, bytes) else b"".join(self.content)


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer in one encoding, with the headers that describe it (content type, encoding, length, ETag, caching)."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    etag: str
    cost_bytes: int


class _Lock:
    """A lock that a weak mapping can hold."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class AnswerCache:
    """Least recently used answers, at most `budget_bytes` of them; safe to share between threads.

    Parameters
    ----------
    budget_bytes : bodies, URLs and a fixed overhead for each are counted
    version : mixed into every ETag, so that an answer of another release or configuration is never revalidated
    cache_control : value of that header on every stored answer
    """

    def __init__(self, budget_bytes: int, version: str, cache_control: str) -> None:
        self.budget_bytes = budget_bytes
        self._version = version
        self._cache_control = cache_control
        self._lock = threading.Lock()
        self._stored: LRUCache[Key, Stored] = LRUCache(budget_bytes, getsizeof=lambda stored: stored.cost_bytes)
        self._making: weakref.WeakValueDictionary[Key, _Lock] = weakref.WeakValueDictionary()

    @property
    def used_bytes(self) -> int:
        """What the stored answers take."""
        return int(self._stored.currsize)

    def find(self, key: Key) -> Stored | None:
        """The answer stored under `key`, if any."""
        with self._lock:
            return self._stored.get(key)

    def find_or_make(
        self,
        key: Key,
        make: Callable[[], Answer],
        cache_control: str | None = None,
        room: AbstractContextManager[None] | None = None,
    ) -> Stored:
        """The answer stored under `key`, made now, and inside `room`, if need be.

        Of several threads that want the same answer one makes it; what `make` raises is
        raised in that one alone, and the next tries again.
        """
        stored = self.find(key)
        if stored is not None:
            return stored
        with self._lock:
            holder = self._making.setdefault(key, _Lock())
        with stalls.hold(holder.lock, key[0]):
            stored = self.find(key)
            if stored is None:
                with room or nullcontext():
                    stored = self._encode(key, make, cache_control or self._cache_control)
                self._keep(key, stored)
        return stored

    def _encode(self, key: Key, make: Callable[[], Answer], cache_control: str) -> Stored:
        fingerprint, path, query, encoding = key
        if encoding == IDENTITY:
            answer, packed = self._unpacked(key) or make(), None
        else:
            answer = make()
            packed = _gzip(answer)
        digest = blake2b(
            f"{self._version}\0{fingerprint}\0{path}\0{query}".encode("utf-8", "surrogateescape"), digest_size=12
        )
        etag = f'"{digest.hexdigest()}{"-gz" if packed is not None else ""}"'
        body = answer.body if packed is None else packed
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(body))),
            ("ETag", etag),
            ("Cache-Control", cache_control),
            ("Vary", "Accept-Encoding"),
        ]
        if packed is not None:
            headers.append(("Content-Encoding", GZIP))
        # A query may be longer than the answer to it.
        cost_bytes = len(body) + len(path) + len(query) + _ENTRY_OVERHEAD_BYTES
        return Stored(body, tuple(headers), etag, cost_bytes)

    def _unpacked(self, key: Key) -> Answer | None:
        """Undo the compressed form, which is much cheaper than reading the dataset again."""
        stored = self.find((*key[:3], GZIP))
        if stored is None:
            return None
        headers = dict(stored.headers)
        body = stored.body
        if headers.get("Content-Encoding") == GZIP:
            body = isal_zlib.decompress(body, wbits=_GZIP_WBITS)
        return Answer(body, headers["Content-Type"])

    def _keep(self, key: Key, stored: Stored) -> None:
        if stored.cost_bytes <= self.budget_bytes // 2:
            with self._lock:
                self._stored[key] = stored


@lru_cache(maxsize=256)
def negotiate(accept_encoding: str) -> str:
    """Encoding to answer with: gzip when the header allows it, else identity."""
    if not accept_encoding:
        return IDENTITY
    offers = {name.lower(): quality for name, quality in parse_accept_header(accept_encoding)}
    return GZIP if offers.get(GZIP, offers.get("*", 0)) > 0 else IDENTITY


@lru_cache(maxsize=256)
def accepts(accept: str | None, mimetype: str) -> bool:
    """Whether an Accept header allows `mimetype`; a missing one allows everything (RFC 9110, 12.5.1)."""
    return not accept or parse_accept_header(accept, MIMEAccept)[mimetype] > 0


def matches(if_none_match: str, etag: str) -> bool:
    """Whether an If-None-Match header names `etag` (RFC 9110, 13.1.2: weak comparison)."""
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in if_none_match.split(","))


def _gzip(answer: Answer) -> bytes | None:
    size = sum(map(len, answer.parts))
    if size < _COMPRESS_FROM_BYTES or not answer.content_type.startswith(_WEB_TYPES):
        return None
    if size > 4 * _PIECE_BYTES:
        longest = memoryview(max(answer.parts, key=len))
        piece = longest[len(longest) // 2 :][:_PIECE_BYTES]
        if len(isal_zlib.compress(piece, _GZIP_LEVEL, _GZIP_WBITS)) > _WORTHWHILE * len(piece):
            return None
    packer = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)
    packed = b"".join([*map(packer.compress, answer.parts), packer.flush()])
    return packed if len(packed) < _WORTHWHILE * size else None
