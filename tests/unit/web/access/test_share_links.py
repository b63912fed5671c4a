"""Links that open one hidden dataset: what they open, until when, and how they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.cli.main import main
from cxg.datasets.opening import USUAL_TIMES
from cxg.sharing.records import FOLDER, Record, records_of
from cxg.sharing.token import Share, key_problem, new_share, read_token, sign
from tests.cxgs import build
from tests.served import serve

KEY = "0123456789abcdef" * 4
NOW = datetime.now(UTC)
SOON, OVER = NOW + timedelta(days=3), NOW - timedelta(seconds=5)
PAGES = ["", "about", "expression", "?gene=gene1"]
BELOW = ["", "about", "api/v0.2/schema", "api/v0.2/config", "thumbnail.png", "api/v0.2/annotations/obs"]


class Clock:
    """Seconds that only a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for name in ("a b", "other"):
        build(folder / f"{name}.cxg")
        (folder / f"{name}.yaml").write_text("visible_to: []\n")
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(root: Path, tmp_path: Path, clock: Clock) -> FlaskClient:
    return serve(root, tmp_path / "client", {"CXG_SECRET_KEY": KEY}, replace(USUAL_TIMES, clock=clock))


def recorded(root: Path, dataset: str = "a b.cxg", until: datetime = SOON) -> Share:
    share = new_share(dataset, until.replace(microsecond=0))
    records_of(str(root)).write(Record(share, NOW, "for the reviewers"))
    return share


def statuses(client: FlaskClient, name: str = "a%20b.cxg", query: str = "") -> set[int]:
    return {client.get(f"/d/{name}/{path}{query}").status_code for path in BELOW}


def test_a_link_opens_its_dataset_and_no_other(client: FlaskClient, root: Path) -> None:
    token = sign(recorded(root), KEY)
    assert statuses(client) == {404}
    answer = client.get(f"/d/a%20b.cxg/?share={token}&gene=gene%2C1&labels=1")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/d/a%20b.cxg/?gene=gene%2C1&labels=1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    (cookie,) = answer.headers.getlist("Set-Cookie")
    for part in ("HttpOnly", "SameSite=Lax", "Path=/d/a%20b.cxg;", "Expires="):
        assert part in f"{cookie};"
    assert "Secure" not in cookie
    assert statuses(client) == {200}
    for path in BELOW:
        assert client.get(f"/d/a%20b.cxg/{path}").headers["Cache-Control"] in ("private, no-cache", "no-store")
    assert statuses(client, "other.cxg") == {404}
    assert statuses(client, "other.cxg", f"?share={token}") == {404}
    for path in ("/", "/catalog.json"):
        assert "a%20b" not in client.get(path, headers={"Cookie": f"cxg-share={token}"}).text


@pytest.mark.parametrize("page", PAGES)
def test_the_token_leaves_the_address_of_every_page(client: FlaskClient, root: Path, page: str) -> None:
    joint = "&" if "?" in page else "?"
    answer = client.get(f"/d/a%20b.cxg/{page}{joint}share={sign(recorded(root), KEY)}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/d/a%20b.cxg/{page}")


def test_over_https_the_cookie_is_sent_over_https_alone(client: FlaskClient, root: Path) -> None:
    answer = client.get(f"/d/a%20b.cxg/?share={sign(recorded(root), KEY)}", base_url="https://cells.example.org")
    assert "Secure" in answer.headers["Set-Cookie"]


def wrong_tokens(root: Path) -> dict[str, str]:
    good = recorded(root)
    token = sign(good, KEY)
    return {
        "over": sign(recorded(root, until=OVER), KEY),
        "never recorded": sign(new_share("a b.cxg", SOON), KEY),
        "longer than recorded": sign(Share(good.id, good.dataset, SOON + timedelta(days=9)), KEY),
        "record of another dataset": sign(Share(recorded(root, "other.cxg").id, "a b.cxg", SOON), KEY),
        "an id that leads elsewhere": sign(Share("../a b", "a b.cxg", SOON), KEY),
        "another key": sign(good, KEY[::-1]),
        "altered": token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
        "without signature": token.rpartition(".")[0],
        "not one": "x" * 40,
        "endless": "x" * 5000,
        "empty": "",
    }


WRONG = [
    *("over", "never recorded", "longer than recorded", "record of another dataset", "an id that leads elsewhere"),
    *("another key", "altered", "without signature", "not one", "endless", "empty"),
]


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_valid_link_opens_nothing(client: FlaskClient, root: Path, kind: str) -> None:
    token = wrong_tokens(root)[kind]
    for path in BELOW:
        found = []
        for name in ("a%20b.cxg", "absent.cxg"):
            by_address = client.get(f"/d/{name}/{path}?share={token}")
            by_cookie = client.get(f"/d/{name}/{path}", headers={"Cookie": f"cxg-share={token}"})
            assert by_address.status_code == by_cookie.status_code == 404
            found.append([(answer.data, sorted(answer.headers.items())) for answer in (by_address, by_cookie)])
        assert found[0] == found[1]


def test_a_link_that_is_revoked_ends_within_seconds(client: FlaskClient, root: Path, clock: Clock) -> None:
    share = recorded(root)
    client.get(f"/d/a%20b.cxg/?share={sign(share, KEY)}")
    assert statuses(client) == {200}
    records_of(str(root)).remove(share.id)
    clock.now_s += 11
    assert statuses(client) == {404}


@pytest.mark.parametrize("key", [None, "short", "a" * 64])
def test_a_weak_key_opens_nothing(root: Path, tmp_path: Path, key: str | None) -> None:
    client = serve(root, tmp_path / "client", {"CXG_SECRET_KEY": key} if key else {})
    token = sign(recorded(root), key or "x")
    assert key_problem(key) is not None
    assert client.get(f"/d/a%20b.cxg/?share={token}").status_code == 404


def test_a_token_says_what_was_signed() -> None:
    share = new_share("möhre, 1.cxg", SOON.replace(microsecond=0))
    assert read_token(sign(share, KEY), KEY) == share


# The command.

Shares = Callable[..., tuple[int, str, str]]


@pytest.fixture
def share(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shares:
    monkeypatch.setenv("CXG_DATAROOT", str(root))
    monkeypatch.setenv("CXG_SECRET_KEY", KEY)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["share", *arguments])
        return code, *capsys.readouterr()

    return call


def test_a_link_is_made_listed_and_revoked(share: Shares, root: Path, client: FlaskClient, clock: Clock) -> None:
    day = f"{SOON:%Y-%m-%d}"
    code, out, err = share("a b", "--until", day, "--note", "Reviewer 2", "--site", "https://cells.example.org/atlas/")
    assert code == 0
    assert out.startswith("https://cells.example.org/atlas/d/a%20b.cxg/?share=")
    assert f"until {SOON + timedelta(days=1):%Y-%m-%d} 00:00 UTC" in err
    token = out.strip().partition("?share=")[2]
    assert token not in "".join(path.read_text() for path in (root / FOLDER).iterdir())
    assert client.get(f"/d/a%20b.cxg/?share={token}").status_code == 303
    assert share("other.cxg", "--until", f"{day}T12:00+02:00")[1].startswith("/d/other.cxg/?share=")
    code, out, _ = share("--list")
    assert [line.split("  ")[0] for line in out.splitlines()] == ["a b.cxg", "other.cxg"]
    assert out.splitlines()[0].endswith("Reviewer 2")
    assert share("a b", "--list")[1] == out.splitlines()[0] + "\n"
    assert share("a b", "--revoke")[:2] == (0, "Revoked 1 link to a b.cxg.\n")
    clock.now_s += 11
    assert client.get(f"/d/a%20b.cxg/?share={token}").status_code == 404
    assert share("--list")[1] == out.splitlines()[1] + "\n"
    # The folder of the records is no dataset.
    assert FOLDER not in client.get("/").text


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("a b",), "--until 2027-01-31"),
        (("a b", "--until", "soon"), "'soon' is not a date such as 2027-01-31"),
        (("a b", "--until", "2027-02-30"), "'2027-02-30' is not a date"),
        (("a b", "--until", "2020-01-01"), "2020-01-01 is over"),
        (("nope", "--until", "2099-01-01"), "There is no dataset nope.cxg in"),
        (("--until", "2099-01-01"), "Name the dataset"),
        (("--revoke",), "Name the dataset"),
        (("--list", "--revoke"), "do not go together"),
        (("a b", "--until", "2099-01-01", "--note", "x" * 501), "501 characters; 500 are possible"),
    ],
)
def test_what_cannot_be_shared_is_told_in_one_sentence(
    share: Shares, arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, err = share(*arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("key, sentence", [("", "there is no secret key"), ("short", "too easy to guess")])
def test_a_weak_key_signs_nothing(
    share: Shares, root: Path, monkeypatch: pytest.MonkeyPatch, key: str, sentence: str
) -> None:
    monkeypatch.setenv("CXG_SECRET_KEY", key)
    code, out, err = share("a b", "--until", "2099-01-01")
    assert (code, out) == (2, "")
    assert sentence in err
    assert not (root / FOLDER).exists()


def test_a_folder_that_may_not_be_written_is_named(share: Shares, root: Path) -> None:
    (root / FOLDER).write_text("")
    code, _, err = share("a b", "--until", "2099-01-01")
    assert code == 2
    assert FOLDER in err
    assert os.linesep not in err.rstrip("\n")
