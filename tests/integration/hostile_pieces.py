"""What hostile requests are spoiled with: methods, words, headers, framing."""

from __future__ import annotations

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "G\u00cbT"),
    *("X" * 15, "X" * 300, "", "GET GET", "\0", "PRI"),
)
WORDS = (
    *("..", "../..", "..%2f", "%2e%2e%2f%2e%2e", "..%5c", "..%252f..", "%00", "%0d%0aX: y", "%ff%fe", "%c0%ae%c0%ae"),
    *("%", "%%", "%zz", "%u002e", "\xff\xfe", "\u2028", "nan", "NaN", "-1", "1e400", "1,2", "*,*", "*", ",", ",,,,"),
    *("null", "true", "{}", "[]", "{{7*7}}", "{% raw %}", "${jndi:x}", "' OR 1=1 --", "<script>", "$(id)", "`id`"),
    *("~", "~root", "/etc/passwd", "%2fetc%2fpasswd", "file:%2f%2f%2fetc%2fpasswd", "s3:%2f%2fb%2fk", "mem:%2f%2fx"),
    *("x" * 300, "%41" * 1000, "9" * 400, "0x10", "1_000", "\u0665", "e\u0301", "%f0%9f%98%80", "%ed%a0%80", "a%20b"),
    *(":", "::", "var:", "obs:", "__proto__", "__class__", "name_0", "label", "umap", "gene1", "&", "=", ";", "#", "+"),
    *("__schema", "__fragments", "Xr", "X", "obs", "emb/umap", "cxg_group_metadata", ".hidden", "con", "index.html"),
)
HEADERS = (
    *(
        "Accept: text/html",
        "Accept: application/octet-stream;q=0",
        "Accept: ;;;,,,/",
        "Accept: */*;q=nan",
        "Accept: \xff",
    ),
    *("Accept-Encoding: gzip;q=0", "Accept-Encoding: ,,;q=;gzip;q=1e9", "Accept-Encoding: " + "gzip," * 500),
    *("If-None-Match: *", 'If-None-Match: "', "If-None-Match: W/" + '"a",' * 500, "If-Modified-Since: yesterday"),
    *("Range: bytes=0-", "Range: bytes=9-1", "Range: bytes=" + "0-1," * 300, "If-Range: x", 'If-Match: "x"'),
    *("Cookie: session=" + "A" * 3000, "Cookie: session=eyJhIjoxfQ.x.y", "Cookie: ;=;=;", "Authorization: Basic \xff"),
    *("Host: ", "Host: a b", "Host: evil.example:99999999", "Host: [::1", "Host: \xff", "Host: a\tb", "Host: a/../b"),
    *(
        "X-Forwarded-For: ' OR 1=1",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: evil.example:x",
        "X-Forwarded-Prefix: //x",
    ),
    *("X-Forwarded-Prefix: /\xff%00", "X-Forwarded-Port: -1", 'Forwarded: for="', "X-Request-ID: a%0ab"),
    *("Script-Name: /x", "SCRIPT_NAME: /x", "Path_Info: /health", "Wsgi.Errors: x", "Proxy: http://evil.example"),
    *(
        "Content-Type: ",
        "Content-Type: /",
        "Content-Type: multipart/form-data",
        "Content-Type: application/json;charset=x",
    ),
    *("Content-Type: multipart/form-data; boundary=" + "b" * 300, "Content-Type: " + FORM + ";charset=utf-7"),
    *(
        "Expect: 100-continue",
        "Expect: 417",
        "Upgrade: h2c",
        "Upgrade: websocket",
        "Connection: upgrade",
        "TE: trailers",
    ),
    *("Origin: null", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "X-Http-Method-Override: DELETE"),
    *("X-Long: " + "x" * 7000, "Content-Encoding: gzip", "Content-Length : 3", "Transfer-Encoding: identity"),
)
# Framing of which a server and its proxy could think differently: the connection cannot be used on.
BAD_FRAMING = (
    *("Content-Length: -1", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 0x10", "Content-Length: 1e3"),
    *("Content-Length: " + "9" * 30, "Content-Length: \u0665", "Transfer-Encoding: chunked\r\nContent-Length: 4"),
    *("Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding:\x0bchunked"),
    *(
        " X-Folded: a\r\n b",
        "No colon here",
        ": no name",
        "Na\0me: x",
        "Name: a\0b",
        "Name: a\rb",
        "N\xe4me: x",
        "Host: a\r\nHost: b",
    ),
    "\r\n".join(f"X-{i}: y" for i in range(150)),
    "X-Huge: " + "x" * 9000,
)
