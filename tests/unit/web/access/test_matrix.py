"""Every route of the application, asked by every kind of visitor: what one may not see does not exist."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.cxgs import build
from tests.served import serve

NOW = datetime.now(UTC).replace(microsecond=0)
LATER, EARLIER = (NOW + timedelta(days=9)).isoformat(), (NOW - timedelta(days=9)).isoformat()
# Name of a dataset: its description.
DATASETS = {
    "public": "title: Public\n",
    "secret": "title: Zebrafish\ncollection: Quagga\nvisible_to: [lab-a, 'user:ada', Bob@x.org]\ntags: [okapi]\n",
    "signed": "title: Signed\nvisible_to: signed-in\n",
    "nobody": "title: Nobody\nvisible_to: []\n",
    "future": f"title: Future\npublic_from: {LATER}\n",
    "review": f"title: Review\nvisible_to: [lab-a]\npublic_from: {LATER}\n",
    "past01": f"title: Past\nvisible_to: [lab-a]\npublic_from: {EARLIER}\n",
    "broken": "title: Broken\nvisible_to: [lab-a\n",
    "faulty": "title: Faulty\npublic_from: 2020-01-01\n",
}
ABSENT = "absent"
PROXY, STRANGER = "10.1.2.3", "192.0.2.9"


def visitor(user: str, groups: str = "", email: str = "", peer: str = PROXY, **more: str) -> dict[str, Any]:
    headers = {"X-Forwarded-User": user, "X-Forwarded-Groups": groups, "X-Forwarded-Email": email, **more}
    return {"headers": {name: value for name, value in headers.items() if value}, "peer": peer}


VISITORS = {
    "anonymous": visitor(""),
    "anonymous with groups": visitor("", "lab-a", "bob@x.org"),
    "member": visitor("eve", "lab-b, lab-a"),
    "named user": visitor("ada"),
    "named e-mail": visitor("u7", email="bob@X.org"),
    "outsider": visitor("eve", "lab-b,lab-A"),
    "named like the group": visitor("lab-a"),
    "group like the user": visitor("eve", "ada,user:ada,bob@x.org"),
    "two users": visitor("eve,ada", "lab-a"),
    "from elsewhere": visitor("ada", "lab-a", "bob@x.org", peer=STRANGER),
    "from elsewhere, told by itself": visitor("ada", "lab-a", peer=STRANGER, **{"X-Forwarded-For": PROXY}),
}
MEMBERS = {"member"}
ACCEPTED = {"member", "named user", "named e-mail", "outsider", "named like the group", "group like the user"}
SEES = {
    "public": set(VISITORS),
    "past01": set(VISITORS),
    "secret": {"member", "named user", "named e-mail"},
    "review": MEMBERS,
    "signed": ACCEPTED,
    "nobody": set(),
    "future": set(),
    "broken": set(),
    "faulty": set(),
}

GENE = "?var%3Aname_0=gene1"
# Each endpoint below a dataset's name: what to ask there. A new route must be declared here.
BELOW = {
    "client.page": ["", "?embed=1"],
    "client.static_file": [""],
    "client.obsolete": [""],
    "site.add_slash": [""],
    "gallery.about_page": [""],
    "gallery.thumbnail_png": ["", "?v=01234567"],
    "meta.read_schema": [""],
    "meta.read_config": [""],
    "meta.read_colors": [""],
    "meta.read_genesets": [""],
    "data.read_annotations": ["", "?annotation-name=nope"],
    "data.refuse_write": [""],
    "data.read_layout": ["", "?layout-name=umap"],
    "data.read_expression": ["", GENE],
    "data.read_expression_by_body": [""],
    "data.read_summary": ["", "?method=mean&var%3Aname_0=gene1"],
    "data.read_summary_by_body": ["", "?key=1"],
    "data.compare_cells": [""],
    "markers.read_markers": ["", "?by=nope"],
    "expression.page": ["", "?genes=gene1"],
    "expression.plot": ["?genes=gene1"],
    "expression.numbers": ["?genes=gene1"],
}
BODY = b'{"mode": "topN", "count": 5, "set1": {"filter": {"obs": {"index": [1]}}}, "set2": {"filter": {"obs": {"index": [2]}}}}'
# Endpoints that name datasets, and those that never do.
LISTS = {"gallery.start_page", "gallery.one_collection", "gallery.catalog_json", "gallery.sitemap_xml"}
ELSEWHERE = {
    *("health.live", "health.ready", "site.shared_file", "site.beside_file", "gallery.gallery_file", "gallery.favicon"),
    *("gallery.add_slash", "gallery.crawlers"),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    root = tmp_path_factory.mktemp("root")
    for name, text in DATASETS.items():
        build(root / f"{name}.cxg")
        (root / f"{name}.yaml").write_text(text)
    access = {"source": "proxy", "proxy": {"addresses": ["10.1.0.0/16"]}}
    site = {"url": "https://cells.example.org/"}
    server = {"trusted_proxies": ["10.1.0.0/16", STRANGER]}
    return serve(root, tmp_path_factory.mktemp("client"), access=access, site=site, server=server)


def ask(client: FlaskClient, path: str, who: str, method: str = "GET", **more: str) -> TestResponse:
    headers = VISITORS[who]["headers"] | more
    body = {"data": BODY, "content_type": "application/json"} if method in ("POST", "PUT") else {}
    peer = {"REMOTE_ADDR": VISITORS[who]["peer"]}
    return client.open(path, method=method, headers=headers, environ_base=peer, **body)


def told(answer: TestResponse) -> tuple[Any, ...]:
    """All of an answer that a visitor can see."""
    return answer.status_code, sorted(answer.headers.items()), answer.data


def rules_below(client: FlaskClient) -> list[tuple[str, str, str]]:
    """Endpoint, method and path, with {} for the dataset's name, of every route below one."""
    found = []
    for rule in client.application.url_map.iter_rules():
        if "dataset" in rule.arguments:
            path = rule.rule.replace("<dataset>", "{}").replace("<path:file>", "main.js")
            path = path.replace("<any(obs, var):axis>", "obs")
            assert "<" not in path, f"{rule.endpoint}: say in this test what to ask"
            found += [(rule.endpoint, method, path) for method in sorted(rule.methods or ())]
    return found


def every_request(client: FlaskClient) -> list[tuple[str, str]]:
    """Method and path of every request of the matrix, plain and of a version of the dataset."""
    found = []
    for endpoint, method, path in rules_below(client):
        for query in BELOW[endpoint]:
            found.append((method, path + query))
            if "/api/" in path:
                version = f"{'0' * 16}-{'0' * 8}"
                found.append((method, path.replace("/api/", f"/api/{version}/") + query))
    return found


def test_every_route_is_declared(client: FlaskClient) -> None:
    below = {endpoint for endpoint, _, _ in rules_below(client)}
    assert below == set(BELOW)
    others = {rule.endpoint for rule in client.application.url_map.iter_rules()} - below
    assert others == LISTS | ELSEWHERE


@pytest.mark.parametrize("who", VISITORS)
@pytest.mark.parametrize("name", SEES)
def test_what_one_may_see(client: FlaskClient, name: str, who: str) -> None:
    status = ask(client, f"/d/{name}.cxg/api/v0.2/schema", who).status_code
    assert status == (200 if who in SEES[name] else 404)
    assert ask(client, f"/d/{name}.cxg/", who).status_code == status


@pytest.fixture(scope="module")
def warm(client: FlaskClient) -> FlaskClient:
    """The client after members had every answer made, so that caches hold it."""
    for method, path in every_request(client):
        for name in ("secret", "review", "signed"):
            ask(client, path.format(f"{name}.cxg"), "member", method)
    return client


@pytest.mark.parametrize("who", VISITORS)
def test_what_one_may_not_see_answers_like_what_is_not_there(warm: FlaskClient, who: str) -> None:
    client = warm
    hidden = [name for name in SEES if who not in SEES[name]]
    for method, path in every_request(client):
        absent = told(ask(client, path.format(f"{ABSENT}.cxg"), who, method))
        for name in hidden:
            url = path.format(f"{name}.cxg")
            seen = told(ask(client, url, who, method))
            # Only a redirect repeats the name of the address.
            assert str(seen).replace(name, ABSENT) == str(absent), (method, url)


@pytest.mark.parametrize("more", [{"If-None-Match": "*"}, {"Range": "bytes=0-9"}, {"Accept-Encoding": "gzip"}])
def test_no_header_tells_it_either(client: FlaskClient, more: dict[str, str]) -> None:
    for method, path in every_request(client):
        if "/static/" not in path and method in ("GET", "HEAD"):
            ask(client, path.format("secret.cxg"), "member", method, **more)
            seen = told(ask(client, path.format("secret.cxg"), "outsider", method, **more))
            absent = told(ask(client, path.format("absent.cxg"), "outsider", method, **more))
            assert str(seen).replace("secret", "absent") == str(absent), (method, path)


@pytest.mark.parametrize(
    "spelled",
    ["%73ecret.cxg", "secret%2Ecxg", "./secret.cxg", "x/../secret.cxg", "secret.cxg%2F", "secret", "secret.cxg."],
)
def test_other_spellings_open_nothing(client: FlaskClient, spelled: str) -> None:
    for end in ("/", "/api/v0.2/schema", "/about", "/thumbnail.png", "/expression"):
        assert ask(client, f"/d/{spelled}{end}", "outsider").status_code in (404, 308)


@pytest.mark.parametrize("path", ["/", "/?q=zebrafish", "/?tags=okapi", "/catalog.json", "/sitemap.xml", "/c/Quagga/"])
@pytest.mark.parametrize("who", VISITORS)
def test_lists_name_only_what_one_may_see(client: FlaskClient, path: str, who: str) -> None:
    answer = ask(client, path, who)
    sees = who in SEES["secret"]
    assert answer.headers["Cache-Control"] in ("private, no-cache", "no-store")
    if not sees:
        assert not any(word in answer.text.lower() for word in ("secret", "zebrafish<", "okapi<"))
    if path in ("/", "/catalog.json", "/sitemap.xml"):
        named = {name for name in DATASETS if f"{name}.cxg" in answer.text}
        assert named == {name for name in DATASETS if who in SEES[name]}
    if path == "/c/Quagga/":
        assert (answer.status_code == 200) == sees


def test_only_public_answers_may_be_shared(client: FlaskClient) -> None:
    for name, method, path in ((n, m, p) for n in ("public", "past01", "secret") for m, p in every_request(client)):
        if "/static/" in path or "obsolete" in path or method == "OPTIONS":
            continue
        caching = ask(client, path.format(f"{name}.cxg"), "member", method).headers.get("Cache-Control", "")
        if name == "secret":
            assert caching in ("", "no-store", "private, no-cache"), path
        elif path == "/d/{}/api/v0.2/schema":
            assert caching == "public, no-cache"


def test_the_middleware_answers_for_public_datasets_only(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "/d/{}.cxg/api/v0.2/schema"
    for name in ("public", "secret"):
        ask(client, url.format(name), "member")
    asked: list[str] = []
    monkeypatch.setattr(client.application, "dispatch_request", lambda *_: asked.append("") or "")
    ask(client, url.format("public"), "member")
    assert asked == []
    ask(client, url.format("secret"), "member")
    assert asked == [""]
