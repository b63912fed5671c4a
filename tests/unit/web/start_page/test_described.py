"""The list with descriptions: what a card says, what is hidden, when a change is seen."""

from __future__ import annotations

import gzip
import json
import random
import re
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from cxg.config import Site
from cxg.descriptions.model import Described, Description
from cxg.errors import DatasetInvalid
from cxg.web.answers.cache import IDENTITY
from cxg.web.start_page.choose import Query
from cxg.web.start_page.facts import facts_of
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.page import StartPage
from cxg.web.start_page.reader import RECHECK_S, REREAD_S, Summaries
from cxg.web.start_page.summaries import DatasetSummary
from tests.listed import FakeCatalog, Page, Said, make_client, make_dataset, wait_until

PUBLIC = Site(url="https://cells.example.org/atlas/", title="Our cells", intro="**Hello** <script>x</script>")


def at_once(pause_s, then):
    then()


def test_a_card_shows_what_is_said():
    said = Said(
        a={
            "title": "Human <b>liver</b>",
            "text": "Cells *of* donors.",
            "organism": ("Homo sapiens",),
            "assay": ("10x",),
        }
    )
    page = Page(make_client(FakeCatalog(make_dataset()), descriptions=said).get("/").text)
    assert "Human <b>liver</b>" in page.text
    assert "Cells of donors." in page.text
    assert "Homo sapiens · 10x" in page.text
    assert {"href": "d/a.cxg/about"} in page.all("a")
    assert not page.all("b")


def test_hidden_datasets_are_in_no_list_but_are_served():
    catalog = FakeCatalog(
        make_dataset("a.cxg", n_obs=50), make_dataset("b.cxg", n_obs=50), bad=DatasetInvalid("Broken.")
    )
    said = Said(a={"hidden": True, "collection": "Atlas"}, bad={"hidden": True})
    client = make_client(catalog, descriptions=said, site=PUBLIC)
    for path in ("/", "/catalog.json", "/sitemap.xml", "/robots.txt"):
        text = client.get(path).text
        assert "a.cxg" not in text
        assert "bad.cxg" not in text
        assert ("b.cxg" in text) == (path != "/robots.txt")
    assert client.get("/c/Atlas/").status_code == 404
    assert client.get("/d/a.cxg/thumbnail.png").status_code == 200
    about = client.get("/d/a.cxg/about")
    assert about.status_code == 200
    assert '<meta name="robots" content="noindex">' in about.text


def test_a_dataset_that_may_be_hidden_is_not_named_before_it_is_read():
    catalog = FakeCatalog(make_dataset("secret.cxg"), make_dataset("b.cxg"))
    catalog.gate.clear()
    summaries = Summaries(catalog, descriptions=Said(secret={"hidden": True}))
    listed = summaries.read(wait_s=0)
    catalog.gate.set()
    assert (listed.pending, listed.unnamed, listed.is_complete) == (("b.cxg",), 1, False)
    body = StartPage("d", (), "no-cache").answer(listed, Query(), IDENTITY).body.decode()
    assert "secret" not in body
    assert "and 1 more" in body
    listed = summaries.read(wait_s=30)
    assert ([one.name for one in listed.known], listed.is_complete) == (["b.cxg"], True)


def test_a_damaged_dataset_keeps_the_title_that_is_said():
    catalog = FakeCatalog(bad=DatasetInvalid("Broken."))
    page = Page(make_client(catalog, descriptions=Said(bad={"title": "Liver"})).get("/").text)
    assert "Liver" in page.text
    assert "Broken." in page.text
    assert not [a for a in page.all("a") if "about" in a["href"]]


# When a change is seen.


def test_on_a_file_system_a_changed_description_is_read_at_once():
    clock = SimpleNamespace(now=0.0)
    catalog = FakeCatalog(*(make_dataset(f"{k:02}.cxg") for k in range(20)))
    said = Said(**{"07": {"title": "Old"}})
    summaries = Summaries(catalog, clock=lambda: clock.now, later=at_once, descriptions=said)
    before = summaries.read(wait_s=30)
    said.held["07.cxg"] = Described(Description(title="New"), (), "new")
    said.stamps["07.cxg"] = 2
    wait_until(lambda: summaries.read(wait_s=0) is not before)
    assert [one.title for one in summaries.read().known].count("New") == 1
    assert catalog.looks == ["07.cxg"], "no other was looked at"
    assert catalog.leased[20:] == ["07.cxg"]
    del said.held["07.cxg"], said.stamps["07.cxg"]
    wait_until(lambda: "07" in [one.title for one in summaries.read(wait_s=0).known])


def test_a_change_while_the_dataset_is_read_is_not_lost():
    clock = SimpleNamespace(now=0.0)
    catalog, said = FakeCatalog(make_dataset()), Said(a={"title": "One"})
    summaries = Summaries(catalog, clock=lambda: clock.now, later=at_once, descriptions=said)
    summaries.read(wait_s=30)
    catalog.gate.clear()
    said.held["a.cxg"], said.stamps["a.cxg"] = Described(Description(title="Two"), (), "2"), 2
    wait_until(lambda: summaries.read(wait_s=0) and len(catalog.leased) == 2)
    said.held["a.cxg"], said.stamps["a.cxg"] = Described(Description(title="Three"), (), "3"), 3
    summaries.read(wait_s=0)
    catalog.gate.set()

    def looks_again():
        clock.now += 2
        return summaries.read(wait_s=0).known[0].title == "Three"

    wait_until(looks_again, attempts=20)


@pytest.mark.parametrize("stamp, pause_s", [(None, REREAD_S), (1, RECHECK_S)])
def test_on_s3_a_description_is_read_more_often_than_files_are_listed(stamp, pause_s):
    clock = SimpleNamespace(now=0.0)
    catalog, said = FakeCatalog(make_dataset()), Said(a={"title": "Old"})
    said.stamps["a.cxg"] = stamp
    summaries = Summaries(catalog, clock=lambda: clock.now, later=at_once, descriptions=said)
    summaries.read(wait_s=30)
    said.held["a.cxg"] = Described(Description(title="New"), (), "new")
    clock.now = pause_s - 1
    summaries.read(wait_s=0)
    assert catalog.looks == []
    clock.now = pause_s + 1
    wait_until(lambda: summaries.read(wait_s=0).known[0].title == "New")


# Two thousand datasets.

TISSUES = ["liver", "lung", "blood", "brain", "kidney", "heart", "retina", "skin"]
WORDS = [
    "cells",
    "of",
    "human",
    "donors",
    "adult",
    "fetal",
    "single",
    "nucleus",
    "atlas",
    "immune",
    "response",
    "tumour",
    "organ",
    "ageing",
    "health",
    "study",
]


def described(count):
    chosen = random.Random(1)
    for k in range(count):
        description = Description(
            title=f"{' '.join(chosen.choices(WORDS, k=7))} {k}",
            text=" ".join(chosen.choices(WORDS, k=60)),
            authors=tuple(f"Author {chosen.randrange(500)}" for _ in range(5)),
            organism=(chosen.choice(("Homo sapiens", "Mus musculus")),),
            tissue=tuple(chosen.sample(TISSUES, 2)),
            assay=("10x 3' v3",),
            collection=chosen.choice((None, "Atlas", "Other")),
        )
        yield DatasetSummary(
            name=f"study-{k:04}.cxg",
            title=description.title,
            n_obs=chosen.randrange(1000, 500_000),
            n_var=chosen.randrange(15_000, 40_000),
            version=f"{chosen.randrange(16**8):08x}",
            embedding="umap",
            color_by="cell_type",
            facts=facts_of(description),
        )


def test_two_thousand_described_datasets_are_a_page_of_bounded_size():
    page, listed = StartPage("d", (), "no-cache"), Listed(tuple(described(2000)), ())
    body = page.answer(listed, Query(), "gzip").body
    assert len(body) < 200_000
    found = Page(gzip.decompress(body).decode())
    assert len(found.shown) == 2000
    narrow = page.answer(listed, Query("atlas", (("tissue", ("liver",)),)), "gzip").body
    assert len(narrow) < len(body) / 2
    for k in range(40):
        page.answer(listed, Query(f"{k}", (("organism", ("Homo sapiens",)),)), IDENTITY)
    assert page.kept_bytes <= 4 << 20


def test_what_is_kept_of_a_description_is_short():
    huge = "word%d " * 1
    text = " ".join(huge.strip() % k for k in range(5000))
    facts = facts_of(
        Description(text=text, authors=tuple("x" * 300 for _ in range(50)), tags=tuple("y" * 100 for _ in range(50)))
    )
    assert len(repr(facts)) < 6000


# For programs.


def test_the_catalog_has_all_fields():
    said = {
        "title": "Liver",
        "text": "Cells of **five** donors.",
        "authors": ("Ada Lovelace",),
        "doi": "10.1000/x",
        "date": "2026",
        "license": "CC0",
        "contact": "me@example.org",
        "organism": ("Homo sapiens",),
        "tags": ("atlas",),
        "no_download": "the donors did not agree",
        "order": 1.0,
        "collection": "Atlas",
    }
    client = make_client(FakeCatalog(make_dataset(n_obs=50)), descriptions=Said(a=said), site=PUBLIC)
    answer = client.get("/catalog.json")
    assert answer.mimetype == "application/json"
    assert answer.json == {
        "version": 1,
        "title": "Our cells",
        "url": "https://cells.example.org/atlas/",
        "complete": True,
        "datasets": [
            {
                "name": "a.cxg",
                "title": "Liver",
                "text": "Cells of five donors.",
                "explorer": "d/a.cxg/",
                "about": "d/a.cxg/about",
                "picture": "d/a.cxg/thumbnail.png?v=f-a.cxg",
                "cells": 50,
                "genes": 2000,
                "organism": ["Homo sapiens"],
                "tissue": [],
                "assay": [],
                "disease": [],
                "tags": ["atlas"],
                "authors": ["Ada Lovelace"],
                "doi": "10.1000/x",
                "date": "2026",
                "license": "CC0",
                "contact": "me@example.org",
                "download": None,
                "no_download": "the donors did not agree",
                "collection": "Atlas",
                "order": 1.0,
                "problem": None,
            }
        ],
    }
    again = client.get("/catalog.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_sitemap_names_every_page_below_the_public_address():
    catalog = FakeCatalog(make_dataset("a & b.cxg"), bad=DatasetInvalid("Broken."))
    said = Said(bad={})
    said.held["a & b.cxg"] = Described(Description(collection="x y"), (), "1")
    text = make_client(catalog, descriptions=said, site=PUBLIC).get("/sitemap.xml").text
    found = [one.text for one in ET.fromstring(text).iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    root = "https://cells.example.org/atlas/"
    assert found == [root, f"{root}c/x%20y/", f"{root}d/a%20%26%20b.cxg/about"]


def test_without_a_public_address_there_is_no_sitemap():
    client = make_client(FakeCatalog(make_dataset()))
    answer = client.get("/sitemap.xml")
    assert answer.status_code == 404
    assert "set site.url" in answer.text
    assert "Sitemap" not in client.get("/robots.txt").text


def test_crawlers_are_asked_to_leave_the_data_alone():
    answer = make_client(FakeCatalog(), site=PUBLIC, base_url="view/all").get("/robots.txt")
    assert answer.mimetype == "text/plain"
    assert "Disallow: /view/all/*/api/\n" in answer.text
    assert "Sitemap: https://cells.example.org/atlas/sitemap.xml\n" in answer.text


@pytest.mark.parametrize("index", [False, "d/a.cxg/"])
def test_where_nothing_is_listed_nothing_is_told_to_programs(index):
    client = make_client(
        FakeCatalog(make_dataset()), index=index, site=PUBLIC, descriptions=Said(a={"collection": "x"})
    )
    for path in ("/catalog.json", "/sitemap.xml", "/c/x/"):
        assert client.get(path).status_code == 404
    assert "Sitemap" not in client.get("/robots.txt").text


def test_title_text_and_logo_of_the_site():
    site = Site(title="Our <cells>", intro="**Hello** <script>x</script> [x](javascript:y)", logo="our logo.png")
    page = Page(make_client(FakeCatalog(make_dataset()), site=site).get("/").text)
    assert "Our <cells>" in page.text
    assert page.all("strong")
    assert len(page.all("script")) == 1
    assert page.all("img", "logo")[0]["src"] == "./static/cellxgene/deploy/our%20logo.png"
    assert not [a for a in page.all("a") if "javascript" in a["href"]]
    assert not [one for one in page.all("link") if one.get("rel") == "canonical"]


def test_the_canonical_address_comes_from_the_configuration_alone():
    client = make_client(FakeCatalog(make_dataset()), site=PUBLIC)
    for path, found in (("/", ""), ("/?q=x", ""), ("/d/a.cxg/about", "d/a.cxg/about")):
        text = client.get(path, headers={"Host": "evil.example"}).text
        assert "evil.example" not in text
        assert re.findall(r'rel="canonical" href="([^"]*)"', text) == [f"https://cells.example.org/atlas/{found}"]


def test_json_is_json():
    catalog = FakeCatalog(make_dataset(title="half \ud800 a pair"))
    assert json.loads(make_client(catalog).get("/catalog.json").data)["datasets"][0]["title"] == "half ? a pair"
