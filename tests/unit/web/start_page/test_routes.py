"""The list of datasets: what a person, a browser without scripts and a slow store make of it."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from cxg.errors import DatasetInvalid, DatasetNotFound, StorageUnavailable
from cxg.format.columns import Numbers
from cxg.web.start_page import routes as gallery
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.pictures import Pictures, draw_dataset
from cxg.web.start_page.reader import Summaries
from cxg.web.start_page.summaries import DatasetSummary, shown_embedding, summarize
from tests.listed import POLICY, FakeCatalog, Page, list_page, make_client, make_dataset, wait_until

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_card_has_a_picture_title_size_and_link():
    page = Page(make_client(FakeCatalog(make_dataset())).get("/").text)
    (image,) = page.all("img")
    assert image["src"] == "d/a.cxg/thumbnail.png?v=f-a.cxg"
    assert image["alt"] == "Cells in umap, coloured by louvain"
    assert image["loading"] == "lazy"
    assert {"href": "d/a.cxg/"} in page.all("a")
    assert "1,234,567 cells × 2,000 genes" in page.text
    assert "1 dataset" in page.text


def test_a_title_that_utf8_cannot_hold_hides_no_other():
    odd = make_dataset("odd.cxg", title="half \ud800 a pair")
    answer = make_client(FakeCatalog(make_dataset(), odd)).get("/")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert "half ? a pair" in Page(answer.text).text
    assert "2 datasets" in Page(answer.text).text


def test_every_address_on_the_page_is_relative_and_nothing_is_inline():
    text = make_client(FakeCatalog(make_dataset(), bad=DatasetInvalid("Broken."))).get("/").text
    page = Page(text)
    addresses = [v for _, a in page.elements for k, v in a.items() if k in ("href", "src", "action")]
    assert len(addresses) >= 6
    assert not [address for address in addresses if address.startswith("/") or "//" in address]
    assert not [a for _, a in page.elements if "style" in a or any(name.startswith("on") for name in a)]
    assert all("src" in script for script in page.all("script"))
    assert "<style" not in text


def test_names_and_titles_are_quoted_for_url_and_html():
    odd = "50% <b>\"ü\" & 'x'.cxg"
    page = Page(make_client(FakeCatalog(make_dataset(odd)), base_url="view/all").get("/").text)
    assert not page.all("b")
    assert {"href": "view/all/50%25%20%3Cb%3E%22%C3%BC%22%20%26%20%27x%27.cxg/"} in page.all("a")


def test_a_dataset_that_cannot_be_opened_is_listed_with_its_reason_and_no_link():
    page = Page(make_client(FakeCatalog(make_dataset(), bad=DatasetInvalid("obs is <damaged>."))).get("/").text)
    assert "obs is <damaged>." in page.text
    assert len(page.all("li", "broken")) == 1
    assert len(page.all("img")) == 1
    assert not [a for a in page.all("a") if "bad" in a["href"]]


def test_a_dataset_without_expression_says_so_and_is_linked():
    page = Page(make_client(FakeCatalog(make_dataset(x_problem="X is missing."))).get("/").text)
    assert "X is missing." in page.text
    assert {"href": "d/a.cxg/"} in page.all("a")


def test_a_dataset_that_cannot_be_shown_has_a_reason_and_a_size_but_no_picture_and_no_link():
    client = make_client(FakeCatalog(make_dataset(embeddings=(), view_problem="Nothing to draw.")))
    page = Page(client.get("/").text)
    assert not page.all("img")
    assert not [a for a in page.all("a") if "a.cxg" in a["href"]]
    assert len(page.all("li", "broken")) == 1
    assert "Nothing to draw." in page.text
    assert "1,234,567 cells × 2,000 genes" in page.text
    assert client.get("/d/a.cxg/thumbnail.png").status_code == 404


@pytest.mark.parametrize(
    "query, shown",
    [
        ("", ["Liver one liver.cxg", "PBMC two x.cxg"]),
        ("LIVER", ["Liver one liver.cxg"]),
        ("two pb", ["PBMC two x.cxg"]),
        ("x.cxg", ["PBMC two x.cxg"]),
        ("nothing", []),
    ],
)
def test_the_filter_works_without_scripts(query, shown):
    catalog = FakeCatalog(make_dataset("x.cxg", title="PBMC two"), make_dataset("liver.cxg", title="Liver one"))
    page = Page(make_client(catalog).get("/", query_string={"q": query}).text)
    assert page.shown == shown
    assert page.all("input")[0]["value"] == query
    assert page.all("form")[0]["method"] == "get"
    assert ("of 2 datasets" in page.text) == bool(query)
    assert (f"{len(shown)} of 2" in page.text) == bool(query)


def test_the_filter_text_cannot_break_out_of_the_page():
    page = Page(make_client(FakeCatalog(make_dataset())).get("/", query_string={"q": '"><script>x</script>'}).text)
    assert page.all("input")[0]["value"] == '"><script>x</script>'
    assert len(page.all("script")) == 1


def test_an_empty_dataroot_explains_how_to_fill_it():
    page = Page(make_client(FakeCatalog()).get("/").text)
    assert "cxg convert my_data.h5ad" in page.text
    assert not page.all("form")


def test_landmarks_and_headings():
    page = Page(make_client(FakeCatalog(make_dataset(), bad=DatasetInvalid("Broken."))).get("/").text)
    assert [len(page.all(tag)) for tag in ("html", "header", "main", "footer", "h1", "h2")] == [1, 1, 1, 1, 1, 2]
    assert page.all("html")[0]["lang"] == "en"
    assert {a["for"] for a in page.all("label")} == {a["id"] for a in page.all("input") + page.all("select")}


def test_links_of_the_operator_are_at_the_foot():
    page = Page(make_client(FakeCatalog(), links=[("Terms", "static/t.html")]).get("/").text)
    assert {"href": "static/t.html"} in page.all("a")


@pytest.mark.parametrize("index, status, location", [(False, 404, None), ("d/a.cxg/", 302, "d/a.cxg/")])
def test_the_start_page_may_be_off_or_a_redirect(index, status, location):
    answer = make_client(FakeCatalog(make_dataset()), index=index).get("/")
    assert (answer.status_code, answer.headers.get("Location")) == (status, location)


def test_pages_have_their_policy_and_are_revalidated():
    client = make_client(FakeCatalog())
    for path, caching in (("/", "public, no-cache"), ("/no/such", "no-store")):
        answer = client.get(path)
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == caching


@pytest.mark.parametrize(
    "path, root",
    [("/", "./"), ("/x", "./"), ("/d/x.cxg", "../"), ("/d/x.cxg/", "../../"), ("/d/a%2Fb/", "../../")],
)
def test_an_error_page_links_back_to_the_list(path, root):
    assert gallery.relative_root(path) == root


@pytest.mark.parametrize(
    "sent, root", [("/d/x/", "../../"), ("/d/..%2Fx/?q=/a/b", "../../"), ("http://h/d/x/", "../../")]
)
def test_an_error_page_counts_path_segments_as_a_browser_does(sent, root):
    client = make_client(FakeCatalog())
    page = Page(client.get("/d/x/", environ_overrides={"RAW_URI": sent, "REQUEST_URI": sent}).text)
    assert page.all("a")[0]["href"] == root
    assert page.all("link")[1]["href"] == f"{root}static/gallery/gallery.css"
    assert "<b>No</b> such thing." in page.text


@pytest.mark.parametrize("catalog, index", [(None, True), (FakeCatalog(), False), (FakeCatalog(), "d/a.cxg/")])
def test_an_error_page_offers_the_list_only_where_there_is_one(catalog, index):
    assert not Page(make_client(catalog, index=index).get("/no").text).all("a")


def test_unavailable_storage_is_reported():
    catalog = FakeCatalog()
    catalog.away = StorageUnavailable("The bucket does not answer.")
    answer = make_client(catalog).get("/")
    assert answer.status_code == 503
    assert "The bucket does not answer." in answer.text


@pytest.mark.parametrize("file, kind", [("gallery.css", "text/css"), ("gallery.js", "javascript"), ("icon.svg", "svg")])
def test_the_files_of_the_pages_are_served_without_a_catalog_too(file, kind):
    answer = make_client(None).get(f"/static/gallery/{file}", buffered=True)
    assert answer.status_code == 200
    assert kind in answer.mimetype


def test_browsers_find_an_icon_by_themselves():
    answer = make_client(None).get("/favicon.ico", buffered=True)
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml")


def test_no_other_file_is_served():
    client = make_client(None)
    assert client.get("/static/gallery/../../gallery.py").status_code == 404
    assert client.get("/static/gallery/%2e%2e/%2e%2e/gallery.py").status_code == 404


def contrast(one, other):
    """WCAG 2.2 contrast ratio of two ``#rrggbb`` colours."""

    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_enough_contrast_in_light_and_dark():
    css = make_client(None).get("/static/gallery/gallery.css", buffered=True).text
    schemes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*)\}", css)]
    assert len(schemes) == 2
    for scheme in schemes:
        for text in ("text", "quiet", "link", "warn"):
            assert min(contrast(scheme[text], scheme[ground]) for ground in ("page", "card")) >= 4.5


# What is read, and when.


def test_slow_datasets_do_not_hold_up_the_page():
    catalog = FakeCatalog(make_dataset("a.cxg"), make_dataset("b.cxg"))
    catalog.gate.clear()
    summaries = Summaries(catalog)
    assert summaries.read(wait_s=0) == Listed((), ("a.cxg", "b.cxg"))
    catalog.gate.set()
    listed = summaries.read(wait_s=30)
    assert ([summary.title for summary in listed.known], listed.pending) == (["A", "B"], ())
    assert sorted(catalog.leased) == ["a.cxg", "b.cxg"]


def test_the_page_refreshes_itself_only_while_something_is_pending():
    known = [DatasetSummary("a.cxg", "A")]
    waiting = list_page(known, ("slow.cxg",))
    assert [a.get("http-equiv") for a in waiting.all("meta")].count("refresh") == 1
    assert "data-refresh" in waiting.all("main")[0]
    assert "Still being read slow.cxg" in re.sub(r"\s+", " ", waiting.text)
    done = list_page(known, ())
    assert "refresh" not in [a.get("http-equiv") for a in done.all("meta")]
    assert "data-refresh" not in done.all("main")[0]


def test_no_more_datasets_are_read_at_once_than_there_are_threads():
    catalog = FakeCatalog(*(make_dataset(f"{k}.cxg") for k in range(9)))
    catalog.gate.clear()
    summaries = Summaries(catalog, threads=2)
    assert len(summaries.read(wait_s=0).pending) == 9
    assert len(catalog.leased) <= 2
    catalog.gate.set()
    assert len(summaries.read(wait_s=30).known) == 9
    assert len(catalog.leased) == 9


def test_a_dataset_is_read_again_after_a_while_and_once_only():
    clock = SimpleNamespace(now=0.0)
    catalog = FakeCatalog(make_dataset())
    summaries = Summaries(catalog, clock=lambda: clock.now)
    for _ in range(3):
        assert summaries.read(wait_s=30).known[0].title == "A"
    assert catalog.leased == ["a.cxg"]
    catalog.held["a.cxg"] = make_dataset(title="New", fingerprint="new")
    clock.now = 61
    summaries.read(wait_s=30)  # what is known is shown at once, and read again behind it
    wait_until(lambda: summaries.read(wait_s=30).known[0].title == "New")
    assert catalog.leased == ["a.cxg", "a.cxg"]


def test_a_failure_is_tried_again_sooner():
    clock = SimpleNamespace(now=0.0)
    catalog = FakeCatalog(a=StorageUnavailable("No answer."))
    summaries = Summaries(catalog, clock=lambda: clock.now)
    assert summaries.read(wait_s=30).known[0].problem == "No answer."
    catalog.held["a.cxg"] = make_dataset()
    clock.now = 11
    wait_until(lambda: summaries.read(wait_s=30).known[0].problem is None)


def test_datasets_come_and_go():
    catalog = FakeCatalog(make_dataset("a.cxg"))
    summaries = Summaries(catalog)
    summaries.read(wait_s=30)
    catalog.held = {"b.cxg": make_dataset("b.cxg")}
    assert [summary.name for summary in summaries.read(wait_s=30).known] == ["b.cxg"]


def test_a_dataset_that_vanishes_while_it_is_read_is_not_listed():
    catalog = FakeCatalog(a=DatasetNotFound("Gone."))
    assert Summaries(catalog).read(wait_s=30) == Listed((), ())


def test_an_unexpected_error_is_logged_and_affects_only_its_dataset(caplog):
    catalog = FakeCatalog(make_dataset("b.cxg"), a=ZeroDivisionError("secret detail"))
    listed = Summaries(catalog).read(wait_s=30)
    known = listed.known
    assert listed.pending == ()
    assert {summary.name: summary.problem is None for summary in known} == {"a.cxg": False, "b.cxg": True}
    assert "secret" not in next(summary.problem for summary in known if summary.problem)
    wait_until(lambda: "secret detail" in caplog.text)


@pytest.mark.parametrize(
    "wish, embeddings, shown",
    [
        ("pca", ("pca", "umap"), "pca"),
        (None, ("pca", "umap"), "umap"),
        (None, ("a", "tsne"), "tsne"),
        (None, ("b", "c"), "b"),
        (None, (), None),
    ],
)
def test_the_embedding_the_client_shows_first(wish, embeddings, shown):
    assert shown_embedding(make_dataset(default_embedding=wish, embeddings=embeddings)) == shown


def test_a_summary_reads_no_values():
    dataset = make_dataset()
    assert summarize(dataset).color_by == "louvain"
    assert dataset.reads == []


# Pictures.


def small(name="a.cxg", **changes):
    return make_dataset(name, **{"n_obs": 50} | changes)


def test_a_picture_is_drawn_once_and_then_served_without_opening_the_dataset():
    dataset = small()
    catalog = FakeCatalog(dataset)
    client = make_client(catalog)
    first = client.get("/d/a.cxg/thumbnail.png?v=f-a.cxg")
    assert first.data.startswith(PNG)
    assert first.mimetype == "image/png"
    assert "immutable" in first.headers["Cache-Control"]
    assert dataset.reads == ["umap", ("obs", "louvain")]
    leased = list(catalog.leased)
    assert client.get("/d/a.cxg/thumbnail.png?v=f-a.cxg").data == first.data
    assert catalog.leased == leased
    assert client.get("/d/a.cxg/thumbnail.png").data == first.data
    assert len(dataset.reads) == 2


def test_an_unversioned_or_outdated_address_is_revalidated():
    client = make_client(FakeCatalog(small()))
    for query in ("", "?v=old"):
        answer = client.get(f"/d/a.cxg/thumbnail.png{query}")
        assert "immutable" not in answer.headers["Cache-Control"]
        again = client.get(f"/d/a.cxg/thumbnail.png{query}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_a_replaced_dataset_gets_a_new_picture():
    catalog = FakeCatalog(small())
    client = make_client(catalog)
    old = client.get("/d/a.cxg/thumbnail.png")
    catalog.held["a.cxg"] = small(
        fingerprint="new", embeddings=("pca",), colors={"louvain": {"T": "#ff0000", "B": "#00ff00"}}
    )
    new = client.get("/d/a.cxg/thumbnail.png", headers={"If-None-Match": old.headers["ETag"]})
    assert new.status_code == 200
    assert new.data != old.data


def test_a_picture_of_a_missing_dataset_is_not_found():
    assert make_client(FakeCatalog()).get("/d/none.cxg/thumbnail.png").status_code == 404


def test_pictures_in_memory_are_bounded():
    datasets = [small(f"{k}.cxg") for k in range(3)]
    size = len(draw_dataset(datasets[0]))
    pictures = Pictures(max_bytes=2 * size)
    for dataset in datasets:
        pictures.draw(dataset)
    assert [pictures.kept(f"{k}.cxg", f"f-{k}.cxg") is not None for k in range(3)] == [False, True, True]


def test_a_column_that_turns_out_to_have_no_labels_is_drawn_plain():
    dataset = small()
    dataset.read_column = lambda axis, name: Numbers(np.zeros(50, np.float32))
    assert draw_dataset(dataset).startswith(PNG)


def test_a_million_cells_are_sampled():
    dataset = small(n_obs=1_000_000)
    assert len(draw_dataset(dataset)) < 80_000
    assert dataset.reads == ["umap", ("obs", "louvain")]
