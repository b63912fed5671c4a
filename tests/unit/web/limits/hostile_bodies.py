"""Bodies that are small and take much memory when they are parsed; as a program, prints how much each takes."""

import json
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

from cxg.errors import BadFilter
from cxg.wire.filters import parse_filter_body, parse_json_body, parse_var_query, query_values

HOSTILE_JSON = {
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 20_000,
    "small ranges": b'{"filter":{"var":{"index":[' + b"[0,1]," * 16_600 + b"[0,1]]}}}",
    "empty lists": b'{"filter":{"var":{"index":[' + b"[]," * 33_000 + b"[]]}}}",
    "objects": b'{"filter":[' + b'{"":0},' * 14_200 + b"{}]}",
    "texts": b'{"filter":{"var":{"annotation_value":[{"name":"x","values":[' + b'"ab",' * 19_900 + b'""]}]}}}',
    "conditions": b'{"filter":{"var":{"annotation_value":['
    + b",".join(b'{"name":"%d","min":1}' % i for i in range(4_500))
    + b"]}}}",
    "digits": b'{"filter":' + b"9" * 99_000 + b"}",
    "wide letters": b'{"filter":"' + "\U0001f9ec".encode() * 24_900 + b'"}',
}

HOSTILE_QUERIES = {
    "empty": b"&" * 100_000,
    "no names": b"a&" * 50_000,
    "short values": b"var:=ab&" * 12_500,
    "columns": b"".join(b"var:%s=1&" % quote(str(i)).encode() for i in range(8_000)),
    "ranges": b"".join(b"var:%s=1,2&" % quote(str(i)).encode() for i in range(7_000)),
    "methods": b"method=mean&" * 8_300,
    "wide letters in a query": b"var:x=" + "\U0001f9ec".encode() * 24_900,
}


def parse_query(body: bytes) -> None:
    """Parse as the route does."""
    set(query_values(body, "method"))
    parse_var_query(body)


# Every shape of a JSON value, as many of them as fit.
JSON_SHAPES = (b"[]", b"{}", b"0.1", b"1000", b"[0]", b"[0,1]", b'{"":{}}', b'"ab"', b'{"a":[]}', b"null")


def parse_filter(body: bytes) -> None:
    """Parse as the routes that take filters do."""
    parse_filter_body(body, "var")


BODIES: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    **{name: (parse_filter, body) for name, body in HOSTILE_JSON.items()},
    **{name: (parse_query, body) for name, body in HOSTILE_QUERIES.items()},
    **{
        f"many {item.decode()}": (parse_json_body, b"[" + (item + b",") * (100_000 // (len(item) + 1)) + item + b"]")
        for item in JSON_SHAPES
    },
}


def peak_bytes(parse: Callable[[bytes], object], body: bytes) -> int:
    """Most memory that parsing takes."""
    tracemalloc.start()
    with suppress(BadFilter):
        parse(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    print(json.dumps({name: peak_bytes(*case) for name, case in BODIES.items()}))
