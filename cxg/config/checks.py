"""Checks of single texts: each returns what is wrong and how to fix it, or None."""

from __future__ import annotations

import ipaddress
import re

from cxg.links import address_problem, link_problem

# https://www.w3.org/TR/CSP3/#csp-directives, with the two of Upgrade Insecure Requests and Trusted Types.
CSP_DIRECTIVES = frozenset(
    {
        "default-src",
        "script-src",
        "script-src-elem",
        "script-src-attr",
        "style-src",
        "style-src-elem",
        "style-src-attr",
        "img-src",
        "font-src",
        "connect-src",
        "media-src",
        "object-src",
        "frame-src",
        "child-src",
        "worker-src",
        "manifest-src",
        "prefetch-src",
        "base-uri",
        "form-action",
        "frame-ancestors",
        "navigate-to",
        "sandbox",
        "report-uri",
        "report-to",
        "upgrade-insecure-requests",
        "block-all-mixed-content",
        "require-trusted-types-for",
        "trusted-types",
    }
)
_CSP_KEYWORDS = frozenset(
    {"self", "none", "unsafe-inline", "unsafe-eval", "unsafe-hashes", "strict-dynamic", "report-sample"}
)
_CSP_HASH = re.compile(r"(nonce|sha256|sha384|sha512)-")
RESERVED_SEGMENTS = frozenset(
    {
        *("static", "health", "api", "c"),
        *("favicon.ico", "obsolete.js", "robots.txt", "sitemap.xml", "catalog.json"),
    }
)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LUSTRE = re.compile(r"lustre://[A-Za-z0-9._-]+@(tcp|o2ib)[0-9]*:/[A-Za-z0-9_-]{1,8}(/.*)?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_ORIGIN = re.compile(r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def check_network(text: str) -> str | None:
    """Check an address, or a network such as 172.16.0.0/12."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "give an address such as 10.0.0.7, or a network such as 172.16.0.0/12"
    return None


def check_host(text: str) -> str | None:
    """Check a name or address to listen on, without scheme and port."""
    if "/" in text or re.fullmatch(r"[^:]+:[0-9]+", text):
        return "give the name or address alone, without http:// and without a port (that is server.port)"
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", text):
        return "this is not a host name or address; 127.0.0.1 is this machine alone, 0.0.0.0 every network"
    return None


def check_origin(text: str) -> str | None:
    """Check an origin as browsers write it: scheme, host, and the port if it is not the usual one."""
    if not _ORIGIN.fullmatch(text):
        return "give scheme and host in small letters, as in https://portal.example, without a path and a final slash"
    usual = {"http": ":80", "https": ":443"}[text.partition(":")[0]]
    if text.endswith(usual):
        return f"leave out {usual}, as browsers do"
    return None


def check_link(text: str) -> str | None:
    """Check an http(s) address, or a path on this server."""
    if text.startswith("/") and not text.startswith("//"):
        # The host is a placeholder: only the path is checked.
        return link_problem(f"https://host{text}")
    problem = link_problem(text)
    if problem is not None and not re.match(r"https?:", text, re.IGNORECASE) and "blanks" not in problem:
        return "a link starts with https://, http:// or, for a path on this server, one slash"
    return problem


def check_url(text: str) -> str | None:
    """Check an absolute http(s) address."""
    if not text.isprintable() or " " in text:
        return "an address has no blanks"
    return address_problem(text)


def check_public_url(text: str) -> str | None:
    """Check the public address of the site: no user, query or fragment."""
    problem = link_problem(text)
    if problem is None and ("?" in text or "#" in text):
        return "an address has no ? or #; write it as https://host/path"
    return problem


def check_base_url(text: str) -> str | None:
    """Check the path prefix of the datasets: segments of plain characters, clear of the server's own paths."""
    segments = text.strip("/").split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            return f"the part {segment!r} cannot stand in a path; use letters, digits, '.', '_', '~' and '-', as in d"
    if segments[0] in RESERVED_SEGMENTS:
        return f"the server uses /{segments[0]} itself; choose another first part, as in d"
    return None


def check_dataroot(text: str) -> str | None:
    """Check a folder of datasets: a path, s3://bucket/prefix or lustre://dns@tcp:/mountname."""
    scheme = _SCHEME.match(text)
    if text.startswith("~"):
        return "only a shell expands ~; write the path in full"
    if scheme is None:
        return "this path holds a NUL character" if "\0" in text else None
    if scheme[1] == "s3":
        return _check_s3(text)
    if scheme[1] == "lustre":
        well_formed = _LUSTRE.fullmatch(text)
        return None if well_formed else "write it as lustre://<dns name>@tcp:/<mountname>, with a folder if wanted"
    return f"{scheme[1]}:// is not a place datasets are read from; use a path, s3:// or lustre://"


def check_datapath(text: str) -> str | None:
    """Check one dataset: as a dataroot, and a CXG rather than an h5ad."""
    if text.rstrip("/").endswith(".h5ad"):
        stem = text.rstrip("/").removesuffix(".h5ad")
        return f"the server reads CXGs; convert it first: cxg convert {text} {stem}.cxg"
    return check_dataroot(text)


def _check_s3(text: str) -> str | None:
    if not text.startswith("s3://"):
        return "write it with two slashes, as s3://bucket/prefix"
    bucket = text.removeprefix("s3://").partition("/")[0]
    if "@" in bucket or ":" in bucket:
        return "an s3:// address holds no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach an IAM role"
    if not _BUCKET.fullmatch(bucket):
        return f"{bucket!r} is not a bucket name (3 to 63 of a-z, 0-9, '.' and '-'); write it as s3://bucket/prefix"
    if "?" in text or "#" in text:
        return "an s3:// address has no query; write it as s3://bucket/prefix"
    return None


def check_region(text: str) -> str | None:
    """Check an AWS region, or any such word where the storage is not AWS."""
    known_form = re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text)
    return None if known_form else "this is not a region name; it looks like us-east-1"


def check_file_name(text: str) -> str | None:
    """Check a plain file name, no path."""
    if "/" in text or "\\" in text or text in {".", ".."}:
        return "give the file's name alone; the folder is fixed"
    return None


def check_integrity(text: str) -> str | None:
    """Check subresource integrity: one or more hashes. https://www.w3.org/TR/SRI/."""
    if all(re.fullmatch(r"sha(256|384|512)-[A-Za-z0-9+/]+={0,2}", one) for one in text.split()):
        return None
    return "write sha256-, sha384- or sha512- and the base64 of the hash"


def check_csp_source(text: str) -> str | None:
    """Check one source of a CSP directive. https://www.w3.org/TR/CSP3/#framework-directive-source-list."""
    if re.search(r"[\s;,]", text):
        return "a source has no blank, comma or semicolon; give each source an entry of its own"
    if text in _CSP_KEYWORDS or _CSP_HASH.match(text):
        return f"""this needs its own single quotes: "'{text}'" """.rstrip()
    if (text.startswith("'") or text.endswith("'")) and not re.fullmatch(r"'[^']+'", text):
        return "a single quote is missing"
    return None
