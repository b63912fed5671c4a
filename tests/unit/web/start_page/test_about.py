"""The page of a dataset: what it says, that nothing in a text can break out of it, and what machines read."""

from __future__ import annotations

import gzip
import json
import re
from types import SimpleNamespace

import pytest

from cxg.config import Site
from cxg.descriptions.model import Described, Description
from cxg.errors import DatasetInvalid
from cxg.format.columns import Column
from cxg.web.start_page.about import cite
from cxg.web.start_page.structured import license_link
from tests.listed import POLICY, FakeCatalog, Page, Said, make_client, make_dataset

SAID = {
    "title": "Human liver",
    "text": "# Donors\n\nCells of **five** donors, sorted by hand in the spring of that year.",
    "authors": ("Ada Lovelace", "Grace Hopper"),
    "doi": "10.1000/x(1)",
    "date": "2026-11-30",
    "license": "CC-BY-4.0",
    "contact": "me@example.org",
    "organism": ("Homo sapiens",),
    "tissue": ("liver", "bile duct"),
    "assay": ("10x 3' v3",),
    "tags": ("atlas",),
    "download": "https://example.org/liver.h5ad",
    "collection": "Atlas",
}
PUBLIC = Site(url="https://cells.example.org/", title="Our cells")
NO_SITE = Site()
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u2028\u202e&amp;"


def asked(said, site=NO_SITE, path="/d/a.cxg/about", base_url="d", **dataset):
    client = make_client(FakeCatalog(make_dataset(**dataset)), descriptions=Said(a=said), site=site, base_url=base_url)
    answer = client.get(path)
    assert answer.status_code == 200
    return answer


def structured(text):
    return json.loads(re.findall(r'<script type="application/ld\+json">(.*?)</script>', text, flags=re.S)[0])


def metas(page, key):
    return [(meta[key], meta["content"]) for meta in page.all("meta") if key in meta]


def test_everything_that_is_said_is_there():
    answer = asked(SAID)
    page = Page(answer.text)
    text = " ".join(page.text.split())
    for part in (
        *(
            "Human liver",
            "Ada Lovelace, Grace Hopper",
            "1,234,567 cells × 2,000 genes",
            "Homo sapiens",
            "liver, bile duct",
        ),
        *("10x 3' v3", "pca, umap", "2026-11-30", "CC-BY-4.0", "louvain", "T, B", "n_genes", "a whole number"),
        "Ada Lovelace; Grace Hopper (2026). Human liver. https://doi.org/10.1000/x(1)",
    ):
        assert part in text
    links = {a["href"] for a in page.all("a")}
    assert {
        *("./", "../../", "../../c/Atlas/", "https://doi.org/10.1000/x%281%29", "mailto:me@example.org"),
        *("https://creativecommons.org/licenses/by/4.0/", "https://example.org/liver.h5ad"),
    } <= links
    assert page.all("img")[0]["src"] == "thumbnail.png?v=f-a.cxg"
    assert page.all("img")[0]["alt"] == "Cells in umap, coloured by louvain"
    assert [len(page.all(tag)) for tag in ("html", "header", "main", "footer", "h1")] == [1, 1, 1, 1, 1]
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["Cache-Control"] == "public, no-cache"
    again = answer.request and make_client(FakeCatalog(make_dataset()), descriptions=Said(a=SAID))
    assert again.get("/d/a.cxg/about", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_dataset_without_a_description_has_a_page_too():
    page = Page(asked({}, about="https://example.org/about").text)
    assert "1,234,567 cells × 2,000 genes" in page.text
    assert {"href": "https://example.org/about", "rel": "noopener"} in page.all("a")
    assert "How to cite" not in page.text
    assert "Download" not in page.text


@pytest.mark.parametrize(
    "reason, says", [("the donors did not agree", "No download: the donors did not agree"), ("", "No download")]
)
def test_why_there_is_no_download(reason, says):
    assert says in " ".join(Page(asked({"no_download": reason}).text).text.split())


def test_a_changed_description_changes_the_page_and_its_etag():
    catalog, said = FakeCatalog(make_dataset()), Said(a={"title": "One"})
    client = make_client(catalog, descriptions=said)
    first = client.get("/d/a.cxg/about")
    said.held["a.cxg"] = Described(Description(title="Two"), (), "2")
    second = client.get("/d/a.cxg/about", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status_code == 200
    assert "Two" in second.text


def test_columns_labels_and_gene_sets_are_bounded():
    columns = [
        Column("name_0", "string"),
        *(Column(f"c{k}", "categorical", tuple(f"l{n}" for n in range(100))) for k in range(70)),
    ]
    sets = [
        {"geneset_name": f"s{k}", "geneset_description": "", "genes": [{"gene_symbol": f"G{n}"} for n in range(100)]}
        for k in range(50)
    ]
    answer = asked({}, obs=SimpleNamespace(columns=columns, index="name_0"), genesets=sets, embeddings=("umap",) * 3)
    text = " ".join(Page(answer.text).text.split())
    assert "name_0" not in text
    assert "l24, and 75 more" in text
    assert "And 10 more columns." in text
    assert "G24, and 75 more" in text
    assert "And 10 more gene sets." in text


def test_without_expression_no_gene_set_is_shown():
    sets = [{"geneset_name": "s", "geneset_description": "", "genes": []}]
    page = Page(asked({}, genesets=sets, x_problem="X is missing.").text)
    assert "X is missing." in page.text
    assert "Gene sets" not in page.text


def test_hostile_texts_stay_texts():
    said = {key: HOSTILE if isinstance(value, str) else (HOSTILE,) for key, value in SAID.items()}
    said |= {
        "text": HOSTILE + "\n\n[x](javascript:alert(1))\n\n![x](https://evil.example/x.png)",
        "download": "https://example.org/x",
    }
    columns = (Column(HOSTILE, "categorical", (HOSTILE,)),)
    answer = asked(said, PUBLIC, obs=SimpleNamespace(columns=columns, index="name_0"), embeddings=(HOSTILE,))
    page = Page(answer.text)
    assert len(page.all("script")) == 1
    assert page.all("script")[0]["type"] == "application/ld+json"
    assert len(page.all("img")) == 1
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert not [a for _, a in page.elements if "javascript" in a.get("href", "") or "evil" in a.get("src", "")]
    assert structured(answer.text)["name"] == " ".join(HOSTILE.replace("\u2028\u202e", " ").split())
    assert not {"\u2028", "\u202e"} & set(answer.text)


def test_programs_get_schema_org():
    found = structured(asked(SAID, PUBLIC).text)
    assert found["@type"] == "Dataset"
    assert found["name"] == "Human liver"
    assert found["description"].startswith("Donors Cells of five donors")
    assert [one["name"] for one in found["creator"]] == ["Ada Lovelace", "Grace Hopper"]
    assert found["identifier"] == "https://doi.org/10.1000/x(1)"
    assert found["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert found["url"] == "https://cells.example.org/d/a.cxg/about"
    assert found["distribution"][0]["contentUrl"] == "https://example.org/liver.h5ad"
    assert found["measurementTechnique"] == ["10x 3' v3"]
    assert found["image"] == "https://cells.example.org/d/a.cxg/thumbnail.png"


def test_a_short_text_is_made_long_enough_for_search_engines():
    assert len(structured(asked({"text": "Liver."}).text)["description"]) >= 50


def test_citation_managers_and_previews():
    page = Page(asked(SAID, PUBLIC).text)
    assert metas(page, "name")[3:] == [
        ("citation_title", "Human liver"),
        ("citation_author", "Ada Lovelace"),
        ("citation_author", "Grace Hopper"),
        ("citation_doi", "10.1000/x(1)"),
        ("citation_publication_date", "2026/11/30"),
        ("citation_abstract_html_url", "https://cells.example.org/d/a.cxg/about"),
    ]
    preview = dict(metas(page, "property"))
    assert preview["og:title"] == "Human liver"
    assert preview["og:image"] == "https://cells.example.org/d/a.cxg/thumbnail.png"
    assert (preview["og:image:width"], preview["og:image:height"]) == ("640", "480")


def test_without_a_public_address_none_is_named():
    answer = asked(SAID)
    assert "canonical" not in answer.text
    assert not {"og:url", "og:image"} & dict(metas(Page(answer.text), "property")).keys()
    assert not {"url", "image"} & structured(answer.text).keys()


def test_a_longer_path_before_the_datasets():
    page = Page(asked(SAID, base_url="view/all", path="/view/all/a.cxg/about").text)
    assert {"href": "../../../"} in page.all("a")
    assert page.all("link")[1]["href"] == "../../../static/gallery/gallery.css"


def test_a_dataset_that_cannot_be_shown_has_a_page_without_picture():
    page = Page(asked(SAID, embeddings=(), view_problem="Nothing to draw.").text)
    assert "Nothing to draw." in page.text
    assert not page.all("img")
    assert {"class": "button", "href": "./"} not in page.all("a")


def test_where_there_is_no_list_none_is_linked():
    client = make_client(FakeCatalog(make_dataset()), descriptions=Said(a=SAID), index=False)
    assert "../../" not in [a["href"] for a in Page(client.get("/d/a.cxg/about").text).all("a")]


@pytest.mark.parametrize("name", ["none.cxg", "bad.cxg"])
def test_a_missing_or_damaged_dataset_has_none(name):
    client = make_client(FakeCatalog(bad=DatasetInvalid("Broken.")))
    client.application.testing = False
    assert client.get(f"/d/{name}/about").status_code in (404, 500)


def test_the_page_is_compressed():
    client = make_client(FakeCatalog(make_dataset()), descriptions=Said(a=SAID))
    answer = client.get("/d/a.cxg/about", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(answer.data) == client.get("/d/a.cxg/about").data


@pytest.mark.parametrize(
    "said, text",
    [
        ({}, None),
        ({"citation": "Lovelace 2026."}, "Lovelace 2026."),
        ({"doi": "10.1000/x"}, "Liver. https://doi.org/10.1000/x"),
        ({"authors": ("A",)}, "A. Liver."),
        ({"authors": ("A", "B"), "date": "2026-11"}, "A; B (2026). Liver."),
    ],
)
def test_how_to_cite(said, text):
    assert cite("Liver", Description(**said)) == text


@pytest.mark.parametrize(
    "text, link",
    [
        (None, None),
        ("own terms", None),
        ("https://example.org/terms", "https://example.org/terms"),
        ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("cc by-nc-sa 3.0", "https://creativecommons.org/licenses/by-nc-sa/3.0/"),
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("CC0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("CC BY", None),
    ],
)
def test_licences_are_linked(text, link):
    assert license_link(text) == link
