"""Requests that nobody means well with, from a seeded generator; the same seed gives the same bytes.

Most start from a request of the web client and are then spoiled in one way or several: in
the path, the query, the headers, the body, the framing. Some stay good, as an attacker's
requests come between those of others.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from tests.integration.hostile_pieces import BAD_FRAMING, FORM, HEADERS, JSON, METHODS, WORDS

API = "api/v0.2/"
# Datasets at a time, and requests for which they are the same.
_FEW, _TURN = 3, 250


class Hostile(NamedTuple):
    """Bytes for one connection.

    Attributes
    ----------
    methods : of the whole requests in `raw`, in order; their answers can be told apart
    ends : nothing can follow on this connection: the client closes its side and takes what comes
    """

    raw: bytes
    methods: tuple[str, ...]
    ends: bool


class _Parts:
    """A request before it is written out."""

    def __init__(self, method: str, path: str, query: str = "", kind: str = "", body: bytes = b"") -> None:
        self.method, self.path, self.query, self.body = method, path, query, body
        self.headers = [f"Content-Type: {kind}"] if kind else []

    def raw(self, line: str | None = None) -> bytes:
        """A whole request, well framed."""
        target = self.path + (f"?{self.query}" if self.query else "")
        length = [f"Content-Length: {len(self.body)}"] if self.body or self.method in ("POST", "PUT") else []
        lines = [line or f"{self.method} {target} HTTP/1.1", *self.headers, *length]
        if not any(header.startswith("Host:") for header in lines):
            lines.insert(1, "Host: localhost")
        return _bytes("\r\n".join(lines)) + b"\r\n\r\n" + self.body


class Generator:
    """Hostile requests about the datasets called `names`.

    Parameters
    ----------
    seed : of the requests; which datasets they are about at a time does not depend on it, so that
        generators working side by side keep to the same few, as a server holds only some open
    size : most cells or genes that any of them has, for positions near and beyond the end
    """

    def __init__(self, names: Sequence[str], seed: int, size: int = 40) -> None:
        self._rng, self._names, self._size = random.Random(seed), sorted(names), size
        self._few = self._names
        self._spoilers: tuple[Callable[[_Parts], None], ...] = (
            *(self._spoil_name, self._spoil_name, self._spoil_path, self._spoil_path, self._spoil_query),
            *(self._spoil_headers, self._spoil_method, self._spoil_body, self._spoil_body),
        )

    def requests(self, count: int) -> Iterator[Hostile]:
        """Give connections' worth of bytes that hold `count` requests together."""
        made = 0
        while made < count:
            self._few = random.Random(made // _TURN).sample(self._names, min(_FEW, len(self._names)))
            hostile = self._one()
            made += max(1, len(hostile.methods))
            yield hostile

    def _one(self) -> Hostile:
        rng, chance = self._rng, self._rng.random()
        if chance < 0.86:
            return self._whole(self._spoiled())
        if chance < 0.94:  # pipelined
            several = [self._whole(self._spoiled()) for _ in range(rng.randint(2, 5))]
            end = next((i for i, one in enumerate(several) if one.ends), len(several) - 1)
            used = several[: end + 1]
            methods = tuple(method for one in used for method in one.methods)
            return Hostile(b"".join(one.raw for one in used), methods, used[-1].ends)
        return Hostile(
            rng.choice((self._broken_framing, self._broken_line, self._cut_short, self._chunked))(), (), True
        )

    def _whole(self, parts: _Parts) -> Hostile:
        raw = parts.raw()
        plain = parts.method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
        target = parts.path + parts.query
        # Anything a parser may refuse ends the connection.
        doubtful = not plain or not target.isascii() or any(c <= " " or c == "#" for c in target) or len(raw) > 8000
        doubtful = doubtful or any(header in HEADERS for header in parts.headers)
        return Hostile(raw, () if doubtful else (parts.method,), doubtful)

    # A good request

    def _good(self) -> _Parts:
        rng = self._rng
        name = quote(rng.choice(self._few if rng.random() < 0.997 else self._names))
        api = f"/d/{name}/{API}"
        axis = rng.choice(("obs", "var"))
        genes = "&".join(f"var:name_0=gene{rng.randrange(self._size + 3)}" for _ in range(rng.choice((1, 1, 3, 40))))
        choice = rng.randrange(14)
        if choice < 3:
            return _Parts("GET", api + rng.choice(("schema", "config", "colors", "genesets")))
        if choice < 5:
            column = rng.choice(("name_0", "label", "number", "flag", "no-such", "\u03b2"))
            return _Parts("GET", f"{api}annotations/{axis}", f"annotation-name={quote(column)}")
        if choice < 6:
            return _Parts("GET", f"{api}layout/obs", rng.choice(("", "layout-name=umap", "layout-name=pca")))
        if choice < 8:
            return _Parts("GET", f"{api}data/var", genes)
        if choice < 9:
            return _Parts("GET", f"{api}summarize/var", f"method=mean&{genes}")
        if choice < 10:
            return _Parts("POST", f"{api}summarize/var", "", FORM, f"method=mean&{genes}".encode())
        if choice < 11:
            return _Parts("PUT", f"{api}data/var", "", JSON, json.dumps(self._filter("var")).encode())
        if choice < 13:
            return _Parts("POST", f"{api}diffexp/obs", "", JSON, json.dumps(self._comparison()).encode())
        route = rng.choice(
            (
                *("/", "/health", "/health/live", "/favicon.ico", "/static/gallery/gallery.css", f"/d/{name}"),
                *(f"/d/{name}/", f"/d/{name}/obsolete.js", f"/d/{name}/thumbnail.png", f"/d/{name}/static/x.js"),
                *("/d/static/main-0123456789abcdef0123.js", "/static/assets/icon-0123456789abcdef0123.png"),
            )
        )
        return _Parts("GET", route)

    def _filter(self, axis: str) -> dict[str, object]:
        return {"filter": {axis: {"index": [self._rng.randrange(self._size) for _ in range(3)]}}}

    def _comparison(self) -> dict[str, object]:
        sets = {"set1": self._filter("obs"), "set2": self._filter("obs")}
        return {"mode": "topN", "count": self._rng.choice((1, 50, 10**9)), **sets}

    # Spoiled ones

    def _spoiled(self) -> _Parts:
        parts = self._good()
        for _ in range(self._rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 3))):
            self._rng.choice(self._spoilers)(parts)
        return parts

    def _word(self) -> str:
        return self._rng.choice(WORDS)

    def _spoil_name(self, parts: _Parts) -> None:
        pieces = parts.path.split("/")
        if len(pieces) > 2:
            pieces[2] = self._rng.choice((self._word(), pieces[2] + self._word(), self._word() + pieces[2]))
            parts.path = "/".join(pieces)

    def _spoil_path(self, parts: _Parts) -> None:
        pieces = parts.path.split("/")
        where = self._rng.randrange(1, len(pieces))
        change = self._rng.randrange(4)
        if change == 0:
            pieces[where] = self._word()
        elif change == 1:
            pieces.insert(where, self._rng.choice((self._word(), "", ".", "..")))
        elif change == 2:
            del pieces[where:]
        else:
            pieces[where] = pieces[where].swapcase()
        parts.path = "/" + "/".join(pieces).removeprefix("/")

    def _spoil_query(self, parts: _Parts) -> None:
        rng = self._rng
        pieces = parts.query.split("&")
        change = rng.randrange(6)
        if change == 0:
            pieces.append(f"{self._word()}={self._word()}")
        elif change == 1:
            key = rng.choice(
                ("annotation-name", "layout-name", "method", "key", "nbins", "var:name_0", "var:number", "v", "q")
            )
            pieces.append(f"{key}={self._word()}")
        elif change == 2:
            pieces *= rng.choice((2, 20, 33))
        elif change == 3:
            pieces = [pieces[0].replace("=", rng.choice(("", "==", "=%", "%3d", ":"))), *pieces[1:]]
        elif change == 4:
            text = "&".join(pieces)
            cut = rng.randrange(len(text) + 1)
            pieces = [text[:cut] + self._word() + text[cut:]]
        else:
            pieces = [rng.choice(("&" * 500, "=" * 500, "?" * 50, "%2526" * 20, "var:" * 50))]
        parts.query = "&".join(pieces)

    def _spoil_headers(self, parts: _Parts) -> None:
        parts.headers += self._rng.sample(HEADERS, self._rng.randint(1, 3))

    def _spoil_method(self, parts: _Parts) -> None:
        parts.method = self._rng.choice(METHODS)

    def _spoil_body(self, parts: _Parts) -> None:
        rng = self._rng
        if not parts.body:
            parts.method, parts.headers = (
                rng.choice(("POST", "PUT", "GET")),
                [f"Content-Type: {rng.choice((JSON, FORM))}"],
            )
            parts.body = json.dumps(self._comparison()).encode()
        change = rng.randrange(5)
        if change == 0:
            parts.body = self._bomb()
        elif change == 1:
            parts.body = parts.body[: rng.randrange(len(parts.body))]
        elif change == 2:
            cut = rng.randrange(len(parts.body))
            parts.body = parts.body[:cut] + rng.randbytes(rng.randint(1, 8)) + parts.body[cut + rng.randrange(3) :]
        elif change == 3:
            parts.headers = [
                f"Content-Type: {rng.choice((JSON, FORM, 'text/plain', 'multipart/form-data; boundary=x'))}"
            ]
        else:
            parts.body = json.dumps(self._odd_comparison()).encode("utf-8", "surrogatepass")

    def _odd_comparison(self) -> dict[str, object]:
        """A comparison with one value of another kind than it should have."""
        rng = self._rng
        odd = rng.choice(
            (
                *(
                    None,
                    True,
                    -1,
                    0,
                    1.5,
                    10**18,
                    10**40,
                    1e308,
                    "",
                    "0",
                    [],
                    {},
                    [[]],
                    [None],
                    ["\ud800"],
                    [[0, 10**18]],
                ),
                *(
                    [-1],
                    [0, 0, 0],
                    [[5, 1]],
                    [[0]],
                    [[0, 1, 2]],
                    [2**63],
                    [-(2**63)],
                    [1.0],
                    list(range(3000)),
                    [self._size - 1],
                ),
            )
        )
        body = self._comparison()
        choice = rng.randrange(5)
        if choice == 0:
            body[rng.choice(("mode", "count", "set1", "set2", "varFilter"))] = odd
        elif choice == 1:
            body["set1"] = {"filter": {"obs": {"index": odd}}}
        elif choice == 2:
            body["set2"] = {"filter": {"obs": odd}}
        elif choice == 3:
            entry = {"name": rng.choice(("label", "number", "name_0", odd)), rng.choice(("values", "min", "max")): odd}
            body["set1"] = {"filter": {"obs": {"annotation_value": rng.choice(([entry], entry, [entry] * 2))}}}
        else:
            body["filter"] = {"var": {"index": odd}}
        return body

    def _bomb(self) -> bytes:
        """JSON that is small to send and costly to read carelessly."""
        rng = self._rng
        return rng.choice(
            (
                lambda: b"[" * 50_000,
                lambda: b'{"a":' * 20_000,
                lambda: b'{"filter":{"var":{"index":' + b"[" * 9_000,
                lambda: b'{"mode":"topN","count":' + b"9" * 20_000 + b"}",
                lambda: b'{"mode":"topN","set1":{"filter":{"obs":{"index":[[0,' + b"9" * 18 + b"]]}}}}",
                lambda: b'{"index":[' * 3_000,
                lambda: b'{"index":[1]}' * 1_000,
                lambda: b"{" + b",".join(b'"k%d":1' % i for i in range(5_000)) + b"}",
                lambda: b"&".join([b"var:name_0=gene1"] * 3_000),
                lambda: b"method=mean&" + b"%" * 30_000,
                lambda: b'"' + b"\\ud800" * 5_000 + b'"',
                lambda: b"\xef\xbb\xbf{}",
                lambda: b"\0" * 1_000,
                lambda: b"--x\r\nContent-Disposition: form-data; name=method\r\n\r\n" * 200,
            )
        )()

    # Framing

    def _broken_framing(self) -> bytes:
        parts = self._spoiled()
        parts.headers = [self._rng.choice(BAD_FRAMING)]
        return parts.raw()

    def _broken_line(self) -> bytes:
        rng, parts = self._rng, self._spoiled()
        line = rng.choice(
            (
                *("", " ", "GET", "GET /", "GET  / HTTP/1.1", "GET / HTTP/9.9", "GET / HTTP/1.1x", "GET / http/1.1"),
                *(
                    "GET http://[ HTTP/1.1",
                    "GET //evil.example/ HTTP/1.1",
                    "GET http://x:y/ HTTP/1.1",
                    "GET * HTTP/1.1",
                ),
                *(
                    "GET / HTTP/0.9",
                    "GET / HTTP/2.0",
                    "\x16\x03\x01\x02",
                    "\xff\xfe",
                    "GET \\..\\x HTTP/1.1",
                    "CONNECT a:1 HTTP/1.1",
                ),
                *(
                    "PRI * HTTP/2.0",
                    f"GET /{'x' * 9000} HTTP/1.1",
                    f"GET /?{'&' * 8100} HTTP/1.1",
                    "OPTIONS * HTTP/1.1",
                ),
                *("GET /d/%zz/ HTTP/1.1", "GET health HTTP/1.1", "GET ?q HTTP/1.1", "GET http://a/health HTTP/1.0"),
            )
        )
        return parts.raw(line)

    def _cut_short(self) -> bytes:
        """A request that stops in the middle, mostly of its body, or announces more than comes."""
        parts = self._spoiled()
        raw = parts.raw()
        if self._rng.random() < 0.3:
            return raw.replace(
                b"Content-Length: ", self._rng.choice((b"Content-Length: 1", b"Content-Length: 100000000"))
            )
        return raw[: self._rng.randrange(max(1, len(raw) - len(parts.body) // 2 - 1), len(raw))] if raw else raw

    def _chunked(self) -> bytes:
        rng, parts = self._rng, self._good()
        body = parts.body or b"{}"
        chunks = rng.choice(
            (
                lambda: b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
                lambda: b"".join(b"1\r\n%c\r\n" % one for one in body) + b"0\r\n\r\n",
                lambda: b"%x\r\n%s" % (len(body) + 7, body),
                lambda: b"-1\r\n" + body,
                lambda: b"zz\r\n" + body,
                lambda: b"f" * 40 + b"\r\n" + body,
                lambda: b"1;" + b"x" * 20_000 + b"\r\n{\r\n0\r\n\r\n",
                lambda: b"0\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            )
        )()
        parts.body, parts.method = b"", rng.choice(("POST", "PUT"))
        parts.headers.append("Transfer-Encoding: chunked")
        head = parts.raw().replace(b"Content-Length: 0\r\n", b"")
        return head + chunks


def _bytes(text: str) -> bytes:
    """Characters below U+0100 as single bytes, which UTF-8 does not allow; others as UTF-8."""
    return (
        b"".join(c.encode("latin-1" if c <= "\xff" else "utf-8") for c in text) if not text.isascii() else text.encode()
    )
