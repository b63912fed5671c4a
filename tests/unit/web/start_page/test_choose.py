"""Narrowing and ordering the list: by words of all texts, by facets, in collections."""

from __future__ import annotations

import pytest
from werkzeug.datastructures import MultiDict

from cxg.descriptions.model import Description
from cxg.web.start_page.choose import Query, choose, read_query
from cxg.web.start_page.facts import facts_of
from cxg.web.start_page.summaries import DatasetSummary
from tests.listed import FakeCatalog, Page, Said, make_client, make_dataset

DATASETS = {
    "liver": {
        "title": "Human liver",
        "organism": ("Homo sapiens",),
        "tissue": ("liver",),
        "date": "2024",
        "order": 2.0,
    },
    "lung": {"title": "Mouse lung", "organism": ("Mus musculus",), "tissue": ("lung", "blood"), "collection": "Atlas"},
    "blood": {
        "title": "Blood",
        "organism": ("homo Sapiens",),
        "tissue": ("blood",),
        "date": "2026-01",
        "collection": "atlas",
    },
    "plain": {"text": "Cells of **zebra** fish, by Möller.", "authors": ("Ada Lovelace",), "doi": "10.1000/xyz"},
}


@pytest.fixture
def client():
    sizes = dict(zip(DATASETS, (500, 30, 4000, 7), strict=True))
    catalog = FakeCatalog(*(make_dataset(f"{name}.cxg", n_obs=sizes[name]) for name in DATASETS))
    return make_client(catalog, descriptions=Said(**DATASETS))


def shown(client, query="", path="/"):
    page = Page(client.get(f"{path}?{query}").text)
    return [text.split()[-1].removesuffix(".cxg") for text in page.shown]


@pytest.mark.parametrize(
    "query, names",
    [
        ("", ["liver", "blood", "lung", "plain"]),
        ("q=zebra", ["plain"]),
        ("q=ZEBRA möller", ["plain"]),
        ("q=lovelace", ["plain"]),
        ("q=10.1000", ["plain"]),
        ("q=musculus", ["lung"]),
        ("q=atlas", ["blood", "lung"]),
        ("organism=Homo sapiens", ["liver", "blood"]),
        ("organism=HOMO SAPIENS&tissue=blood", ["blood"]),
        ("tissue=liver&tissue=lung", ["liver", "lung"]),
        ("tissue=none", []),
        ("organism=Homo sapiens&q=atlas", ["blood"]),
        ("sort=title", ["blood", "liver", "lung", "plain"]),
        ("sort=cells", ["blood", "liver", "lung", "plain"]),
        ("sort=newest", ["blood", "liver", "lung", "plain"]),
        ("sort=nonsense&colour=x", ["liver", "blood", "lung", "plain"]),
    ],
)
def test_the_list_is_narrowed_and_ordered(client, query, names):
    assert shown(client, query) == names


def test_counts_say_what_each_value_would_show(client):
    page = Page(client.get("/?tissue=blood").text)
    boxes = {box["value"]: "checked" in box for box in page.all("input") if box.get("type") == "checkbox"}
    assert boxes == {"Homo sapiens": False, "Mus musculus": False, "blood": True, "liver": False, "lung": False}
    text = " ".join(page.text.split())
    assert "Homo sapiens 1" in text  # of the two, one has blood
    assert "liver 1" in text  # beside blood
    assert "2 of 4 datasets" in text
    assert [one for one in page.all("details") if "open" in one] == [{"open": None}]


def test_a_list_without_facets_offers_none():
    page = Page(make_client(FakeCatalog(make_dataset(), make_dataset("b.cxg"))).get("/").text)
    assert not page.all("details")


def test_many_values_are_bounded_but_one_that_is_asked_for_is_offered():
    entries = [Entry(Description(tags=(f"t{k}",))) for k in range(60)]
    (facet,) = choose(entries, Query(facets=(("tags", ("T59",)),))).facets
    assert len(facet.options) == 41
    assert facet.left_out == 19
    assert [option.value for option in facet.options if option.is_wanted] == ["t59"]


class Entry:
    def __init__(self, description):
        self.summary = DatasetSummary("a.cxg", "A", facts=facts_of(description))
        self.searched = "a"


def test_what_is_asked_is_bounded_and_has_one_spelling():
    huge = MultiDict([("q", "x" * 9000), *(("tags", f"{k}" * 300) for k in range(99)), ("sort", "x")])
    query = read_query(huge)
    assert len(query.key) < 4000
    assert len(query.facets[0][1]) <= 20
    one, other = (
        read_query(MultiDict(pairs))
        for pairs in ([("tags", "a"), ("tags", "B")], [("tags", "B"), ("tags", "a"), ("x", "y")])
    )
    assert one.key == other.key
    assert one.key != read_query(MultiDict([("tags", "a")]), "c").key


def test_a_collection_has_its_own_list(client):
    assert client.get("/c/Atlas").headers["Location"] == "./Atlas/"
    page = Page(client.get("/c/ATLAS/").text)
    assert [text.split()[-1] for text in page.shown] == ["blood.cxg", "lung.cxg"]
    links = [a["href"] for a in page.all("a")]
    assert {"../../d/blood.cxg/", "../../d/lung.cxg/", "../../d/lung.cxg/about", "../../"} <= set(links)
    assert not [link for link in links if "liver" in link]
    assert page.all("link")[1]["href"] == "../../static/gallery/gallery.css"
    assert page.all("img")[0]["src"].startswith("../../d/")
    assert "2 datasets" in page.text
    assert "No datasets yet" not in page.text


def test_collections_are_linked_from_the_start_page(client):
    page = Page(client.get("/").text)
    assert {"href": "./c/atlas/"} in page.all("a") or {"href": "./c/Atlas/"} in page.all("a")
    assert len([a for a in page.all("a") if "/c/" in a["href"]]) == 1


def test_an_unknown_collection_is_not_found(client):
    client.get("/")
    answer = client.get("/c/none/")
    assert answer.status_code == 404
    assert "There is no collection of that name here." in answer.text


@pytest.mark.parametrize("name", ['"><script>', "50% & more", "ünï"])
def test_a_collection_may_have_any_name(name):
    catalog = FakeCatalog(make_dataset("a.cxg"), make_dataset("b.cxg"))
    client = make_client(catalog, descriptions=Said(a={"collection": name}, b={}))
    page = Page(client.get("/").text)
    (link,) = [a["href"] for a in page.all("a") if "/c/" in a["href"]]
    inside = Page(client.get(link.removeprefix(".")).text)
    assert name in inside.text
    assert len(inside.all("script")) == 1
    assert "1 dataset" in inside.text
