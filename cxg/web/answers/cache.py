"""Encoded answers: made once, compressed once, kept in memory bounded in bytes.

A data answer depends only on the files of its dataset and the URL, so it is stored under
(identity, path, query, encoding) and never expires: when the dataset is replaced its
identity changes, and the old answers fall out as the least recently used. The ETag has the
fingerprint of the files instead, which is the same on every machine.
"""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from cachetools import LRUCache
from isal import isal_zlib
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from cxg.memory_bounds import ANSWER_OVERHEAD_BYTES
from cxg.timeouts.calls import stalls
from cxg.timeouts.keyed_locks import KeyedLocks
from cxg.web.answers.kept import Key
from cxg.web.headers import DATASET_VERSION

GZIP, IDENTITY = "gzip", "identity"
NOT_MODIFIED_HEADERS = frozenset({"ETag", "Cache-Control", "Vary"})
"""Headers of an answer that its 304 has too."""

# Below this a compressed answer saves no packet; the limit of the published server.
_COMPRESS_FROM_BYTES = 500
_GZIP_LEVEL = 1
_GZIP_WBITS = 31
# Compressed to more than this share an answer is sent as it is: random-looking numbers, which gain
# little and cost both sides time. A piece of a large answer shows it.
_WORTHWHILE = 0.8
_PIECE_BYTES = 16 << 10
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
    thorough: bool = False
    """Compressed as far as it goes: for what is made seldom and sent often."""

    @property
    def parts(self) -> Sequence[bytes | memoryview]:
        """The body; a large answer is not joined before it is compressed."""
        return (self.content,) if isinstance(self.content, bytes) else self.content

    @property
    def body(self) -> bytes:
        """The body as a whole."""
        return self.content if isinstance(self.content, bytes) else b"".join(self.content)

    def pour(self) -> Iterator[bytes | memoryview]:
        """The parts one by one. A list of them is empty afterwards, so that an answer is not in memory twice."""
        left = list(reversed(self.parts))
        if isinstance(self.content, list):
            self.content.clear()
        while left:
            yield left.pop()


class Planned(NamedTuple):
    """An answer that is known how to make: about how much memory that takes, with the answer, and how."""

    size_bytes: int
    make: Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer in one encoding, with the headers that describe it (content type, encoding, length, ETag, caching)."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    etag: str
    cost_bytes: int


class AnswerCache:
    """Least recently used answers, at most `budget_bytes` of them; safe to share between threads.

    Parameters
    ----------
    budget_bytes : bodies, URLs and a fixed overhead for each are counted
    version : mixed into every ETag, so that an answer of another release or configuration is never revalidated
    cache_control : value of that header on every stored answer
    room : entered with a number of bytes while an answer is made that takes about so many
    """

    def __init__(
        self,
        budget_bytes: int,
        version: str,
        cache_control: str,
        room: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.budget_bytes = budget_bytes
        self._version = version
        self._cache_control = cache_control
        self._room = room
        self._lock = threading.Lock()
        self._stored: LRUCache[Key, Stored] = LRUCache(budget_bytes, getsizeof=lambda stored: stored.cost_bytes)
        self._making = KeyedLocks()

    @property
    def used_bytes(self) -> int:
        """What the stored answers take."""
        return int(self._stored.currsize)

    def find(self, key: Key) -> Stored | None:
        """The answer stored under `key`, if any."""
        with self._lock:
            return self._stored.get(key)

    def find_or_make(
        self, key: Key, make: Callable[[], Answer], cache_control: str | None = None, files: str | None = None
    ) -> Stored:
        """The answer stored under `key`, made now if need be, and so small that it needs no room.

        `files` is the fingerprint of the dataset's files, for the ETag; without one the identity stands for them.
        Of several threads that want the same answer one makes it; what `make` raises is
        raised in that one alone, and the next tries again.
        """
        return self.find_or_plan(key, lambda: Planned(0, make), cache_control, files)

    def find_or_plan(
        self, key: Key, plan: Callable[[], Planned], cache_control: str | None = None, files: str | None = None
    ) -> Stored:
        """The same, but the answer is planned first, and made once there is room for it."""
        stored = self.find(key)
        if stored is not None:
            return stored
        holder = self._making.of(key)
        with stalls.hold(holder.lock, key[0]):
            stored = self.find(key)
            if stored is None:
                planned = (key[3] == IDENTITY and self._unpacked(key)) or plan()
                with self._room(planned.size_bytes):
                    stored = self._encode(key, files, planned.make(), cache_control or self._cache_control)
                self._keep(key, stored)
        return stored

    def _encode(self, key: Key, files: str | None, answer: Answer, cache_control: str) -> Stored:
        identity, path, query, encoding = key
        digest = blake2b(
            f"{self._version}\0{files or identity}\0{path}\0{query}".encode("utf-8", "surrogateescape"), digest_size=12
        )
        packed = _gzip(answer) if encoding != IDENTITY else None
        body = _joined(answer) if packed is None else packed
        is_packed = packed is not None
        if packed is not None and len(packed) >= _WORTHWHILE * _unpacked_bytes(packed):
            body, is_packed = isal_zlib.decompress(packed, wbits=_GZIP_WBITS), False
        etag = f'"{digest.hexdigest()}{"-gz" if is_packed else ""}"'
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(body))),
            ("ETag", etag),
            ("Cache-Control", cache_control),
            ("Vary", "Accept-Encoding"),
        ]
        if is_packed:
            headers.append(("Content-Encoding", GZIP))
        if files is not None:
            headers.append((DATASET_VERSION, files))
        # A query may be longer than the answer to it.
        cost_bytes = len(body) + len(path) + len(query) + ANSWER_OVERHEAD_BYTES
        return Stored(body, tuple(headers), etag, cost_bytes)

    def _unpacked(self, key: Key) -> Planned | None:
        """Plan to undo the compressed form, which is much cheaper than reading the dataset again."""
        stored = self.find((*key[:3], GZIP))
        if stored is None:
            return None
        body, headers = stored.body, dict(stored.headers)
        if headers.get("Content-Encoding") != GZIP:
            return Planned(0, lambda: Answer(body, headers["Content-Type"]))
        return Planned(
            _unpacked_bytes(body),
            lambda: Answer(isal_zlib.decompress(body, wbits=_GZIP_WBITS), headers["Content-Type"]),
        )

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


def gzip_body(body: bytes, content_type: str) -> bytes | None:
    """Compress a body that is sent once; None where that is not worth it."""
    packed = _gzip(Answer(body, content_type))
    return packed if packed is not None and len(packed) < _WORTHWHILE * len(body) else None


def _gzip(answer: Answer) -> bytes | None:
    """The answer compressed, and poured out; None, and untouched, where that is not worthwhile."""
    size = sum(map(len, answer.parts))
    if size < _COMPRESS_FROM_BYTES or not answer.content_type.startswith(_WEB_TYPES):
        return None
    if size > 4 * _PIECE_BYTES:
        longest = memoryview(max(answer.parts, key=len))
        piece = longest[len(longest) // 2 :][:_PIECE_BYTES]
        if len(isal_zlib.compress(piece, _GZIP_LEVEL, _GZIP_WBITS)) > _WORTHWHILE * len(piece):
            return None
        del longest, piece
    if answer.thorough:
        return zlib.compress(answer.body, zlib.Z_BEST_COMPRESSION, _GZIP_WBITS)
    packer, out = isal_zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS), io.BytesIO()
    for part in answer.pour():
        out.write(packer.compress(part))
    out.write(packer.flush())
    return out.getvalue()


def _joined(answer: Answer) -> bytes:
    if isinstance(answer.content, bytes):
        return answer.content
    out = io.BytesIO()
    for part in answer.pour():
        out.write(part)
    return out.getvalue()


def _unpacked_bytes(packed: bytes) -> int:
    """Length of what was compressed: the last four bytes say it (RFC 1952), and no answer has 4 GB."""
    return int.from_bytes(packed[-4:], "little")
