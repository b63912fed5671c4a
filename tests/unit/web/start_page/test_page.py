"""The start page: rendered once for each state, small, bounded, and the same for all who ask."""

import gzip
import random
from html import unescape

import pytest

from cxg.memory_bounds import PAGES_BYTES
from cxg.web.start_page import page as startpage
from cxg.web.start_page.choose import Query
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.page import StartPage
from cxg.web.start_page.summaries import DatasetSummary, summarize
from tests.listed import FakeCatalog, Page, list_page, make_client, make_dataset

WORDS = [
    "Lung",
    "Liver",
    "Heart",
    "atlas",
    "of",
    "human",
    "mouse",
    "fetal",
    "adult",
    "immune",
    "cells",
    "single",
    "nucleus",
    "RNA-seq",
    "tumour",
    "microenvironment",
    "spatial",
    "cortex",
    "retina",
    "kidney",
    "organoid",
    "development",
    "ageing",
    "response",
    "integrated",
    "census",
]


def summaries_of(count):
    chosen = random.Random(1)
    return tuple(
        DatasetSummary(
            name=f"study-{k:04}_{chosen.choice(WORDS).lower()}.cxg",
            title=f"{' '.join(chosen.choices(WORDS, k=7))} {k}",
            n_obs=chosen.randrange(1000, 500_000),
            n_var=chosen.randrange(15_000, 40_000),
            version=f"{chosen.randrange(16**8):08x}",
            embedding="umap",
            color_by="cell_type",
        )
        for k in range(count)
    )


@pytest.fixture
def rendered(monkeypatch):
    """Names of the templates that are rendered."""
    names = []
    render = startpage.render
    monkeypatch.setattr(
        startpage, "render", lambda template, **values: names.append(template) or render(template, **values)
    )
    return names


def test_a_state_is_rendered_and_compressed_once(rendered):
    client = make_client(FakeCatalog(*(make_dataset(f"{k}.cxg") for k in range(5))))
    first = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    assert sorted(rendered) == ["card.html"] * 5 + ["datasets.html"]
    for encoding in ("gzip", "gzip, br", "identity", ""):
        again = client.get("/", headers={"Accept-Encoding": encoding})
        assert again.status_code == 200
    assert len(rendered) == 6
    assert gzip.decompress(first.data) == again.data


def test_a_filtered_page_is_rendered_once_too(rendered):
    client = make_client(FakeCatalog(make_dataset(), make_dataset("b.cxg")))
    pages = {client.get("/?q=b", headers={"Accept-Encoding": "gzip"}).data for _ in range(3)}
    assert len(pages) == 1
    assert rendered.count("datasets.html") == 1


def test_when_one_dataset_changes_only_its_card_is_rendered_again(rendered):
    page, known = StartPage("d", (), "no-cache"), list(summaries_of(50))
    page.answer(Listed(tuple(known), ()), Query(), "gzip")
    known[7] = DatasetSummary("study.cxg", "New")
    rendered.clear()
    assert b"New" in page.answer(Listed(tuple(known), ()), Query(), "identity").body
    assert rendered == ["card.html", "datasets.html"]


def test_two_thousand_datasets_are_sent_in_less_than_100_kB():
    known = summaries_of(2000)
    body = StartPage("d", (), "no-cache").answer(Listed(known, ()), Query(), "gzip").body
    assert len(body) < 100_000
    page = Page(gzip.decompress(body).decode())
    assert len(page.shown) == 2000
    assert "2,000 datasets" in page.text


def test_two_workers_give_a_page_the_same_etag():
    known = summaries_of(20)
    tags = {StartPage("d", (), "no-cache").answer(Listed(tuple(known), ()), Query("x"), "gzip").etag for _ in range(2)}
    assert len(tags) == 1
    others = [
        StartPage("d", (), "no-cache").answer(Listed(known[:19], ()), Query("x"), "gzip"),
        StartPage("d", (), "no-cache").answer(Listed(known, ("slow.cxg",)), Query("x"), "gzip"),
        StartPage("d", (), "no-cache").answer(Listed(known, (), 3), Query("x"), "gzip"),
        StartPage("d", (), "no-cache").answer(Listed(known, ()), Query("y"), "gzip"),
        StartPage("d", (), "no-cache").answer(Listed(known, ()), Query("x"), "identity"),
        StartPage("view", (), "no-cache").answer(Listed(known, ()), Query("x"), "gzip"),
        StartPage("d", (("Terms", "t.html"),), "no-cache").answer(Listed(known, ()), Query("x"), "gzip"),
    ]
    assert len(tags.union(one.etag for one in others)) == 8


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("path", ["/", "/?q=a", "/?q=nothing"])
def test_a_page_that_did_not_change_is_not_sent_again(path, encoding):
    catalog = FakeCatalog(make_dataset())
    client = make_client(catalog)
    headers = {"Accept-Encoding": encoding}
    first = client.get(path, headers=headers)
    assert first.headers["Vary"] == "Accept-Encoding"
    assert first.headers["Cache-Control"] == "public, no-cache"
    again = client.get(path, headers={**headers, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    head = client.head(path, headers=headers)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == first.headers["Content-Length"] == str(len(first.data))
    assert head.headers["Content-Security-Policy"] == first.headers["Content-Security-Policy"]
    catalog.held["b.cxg"] = make_dataset("b.cxg")
    assert client.get(path, headers={**headers, "If-None-Match": first.headers["ETag"]}).status_code == 200


def test_kept_pages_are_bounded_for_any_filters():
    page, state = StartPage("d", (), "no-cache"), Listed(summaries_of(500), ())
    for k in range(60):
        page.answer(state, Query(f"{k} lung"), "identity")
        assert page.kept_bytes <= PAGES_BYTES


def test_the_filter_text_is_cut_short():
    assert (
        len(
            Page(make_client(FakeCatalog(make_dataset())).get("/", query_string={"q": "x" * 9_000}).text).all("input")[
                0
            ]["value"]
        )
        <= 200
    )


def test_names_still_to_be_read_are_counted_when_they_are_many():
    page = list_page([], tuple(f"slow-{k}.cxg" for k in range(2000)))
    assert "and 1,950 more" in page.text
    assert page.text.count("slow-") == 50


def test_datasets_that_are_not_listed_are_counted():
    body = StartPage("d", (), "no-cache").answer(Listed(summaries_of(3), (), 1234), Query(), "identity").body.decode()
    assert "1,234 more in the folder or bucket are not listed" in Page(body).text


HUGE = "x" * 2_000_000
ODD_TEXTS = {
    "long": HUGE,
    "markup": "<script>alert(1)</script></li></ul>\"'&amp;<!--",
    "NUL and controls": "a\0b\x01\x1b[31m\x7f\x85c\ud800",
    "turned": "abc \u202egnp.exe \u2066x\u2069 \u200f",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 500,
    "marks": "z" + "\u0301" * 100_000,
    "lines": "one\r\n\r\ntwo\u2028three" * 1000,
    "blank": " \n\t" * 1000,
}


@pytest.mark.parametrize("what", ODD_TEXTS)
def test_a_page_stays_whole_and_small_whatever_a_dataset_says(what):
    text = ODD_TEXTS[what]
    catalog = FakeCatalog(
        make_dataset("good.cxg", title="Good"),
        make_dataset("title.cxg", title=text),
        make_dataset("note.cxg", title="Note", x_problem=text),
        make_dataset("problem.cxg", title="Problem", view_problem=text),
        make_dataset("emb.cxg", title="Embedding", embeddings=(text,)),
    )
    for k in range(10):
        catalog.held[f"more-{k}.cxg"] = make_dataset(f"more-{k}.cxg", title=text)
    answer = make_client(catalog).get("/")
    assert len(answer.data) < 60_000
    page = Page(answer.text)
    assert (len(page.all("li", "card")), len(page.all("script"))) == (15, 1)
    assert page.elements[-1][0] == "p"
    assert "15 datasets" in page.text
    shown = unescape(answer.text)
    assert not set(shown) & set("\0\x01\x1b\x7f\x85\u2028\u202e\u2066\u2069\u200f")
    if what == "long":
        assert "xxx…" in shown
    if what == "blank":
        assert "title.cxg" in [text.split()[0] for _, text in page.cards]


def test_a_summary_keeps_nothing_of_a_long_text():
    summary = summarize(make_dataset(title=HUGE, x_problem=HUGE, embeddings=(HUGE,)))
    assert len(repr(summary)) < 2000


@pytest.mark.parametrize("encoding, packed", [("gzip", "gzip"), ("identity", None)])
def test_error_pages_are_compressed(encoding, packed):
    client = make_client(FakeCatalog())
    answer = client.get("/no/such", headers={"Accept-Encoding": encoding})
    assert (answer.status_code, answer.headers.get("Content-Encoding")) == (404, packed)
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert "such thing." in (gzip.decompress(answer.data) if packed else answer.data).decode()


@pytest.mark.parametrize("file", ["gallery.css", "gallery.js"])
def test_the_files_of_the_page_are_compressed_and_revalidated(file):
    client = make_client(None)
    headers = {"Accept-Encoding": "gzip"}
    answer = client.get(f"/static/gallery/{file}", headers=headers)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == client.get(f"/static/gallery/{file}").data
    again = client.get(f"/static/gallery/{file}", headers={**headers, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
