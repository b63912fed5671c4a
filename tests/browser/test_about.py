"""The page of a dataset and the list's facets, as a person uses them: by mouse, by keyboard, in the dark, on a phone."""

import itertools
import shutil

import pytest
from playwright.sync_api import expect

from tests.browser import serving
from tests.browser.axe import violations
from tests.browser.explorer import Explorer

pytestmark = pytest.mark.browser

NO_SCRIPTS = {"java_script_enabled": False}
DARK_PHONE = {"color_scheme": "dark", "viewport": {"width": 360, "height": 780}, "device_scale_factor": 2}

BLOOD = """\
title: Blood cells of one donor
text: |
  # Donor

  Seven hundred cells, **sorted by hand**. See the [paper](https://example.org/paper).

  | step | cells |
  |------|-------|
  | all  | 68,000 |
  | kept | 700 |

  <script>alert("never")</script> ![x](https://example.org/never.png)
authors: [Ada Lovelace, Grace Hopper]
doi: 10.1038/ncomms14049
date: 2026-11-30
license: CC-BY-4.0
contact: cells@example.org
organism: Homo sapiens
tissue: [blood, bone marrow]
assay: 10x 3' v1
tags: [teaching]
download: none, the donor did not agree
gene_sets: markers.csv
view:
  gene: CD79A
  color: louvain
collection: First steps
order: 1
"""
COPY = "title: Bone marrow\norganism: Homo sapiens\ntissue: bone marrow\ntags: atlas\n"
MOUSE = "title: Mouse spleen\ntext: Cells of a mouse called Möhre.\norganism: Mus musculus\ntissue: spleen\ncollection: First steps\n"
MARKERS = "gene_set_name,gene_set_description,gene_symbol,gene_description\nT cells,,CD3D,\nB cells,,CD79A,\nB cells,,MS4A1,\n"


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    serving.require_built()
    root = tmp_path_factory.mktemp("described")
    for name, text in (("blood", BLOOD), ("copy", COPY), ("mouse", MOUSE), ("hidden", "title: Hidden\nhidden: true\n")):
        shutil.copytree(serving.SAMPLE, root / f"{name}.cxg")
        (root / f"{name}.yaml").write_text(text)
    (root / "markers.csv").write_text(MARKERS)
    with serving.launched(root, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


def titles(page):
    return page.locator(".card:visible h2").all_inner_texts()


def test_the_page_of_a_dataset(page, described, screenshots):
    page.goto(described)
    page.locator(".card", has_text="Blood cells").get_by_role("link", name="About").click()
    expect(page).to_have_url(f"{described}d/blood.cxg/about")
    expect(page.get_by_role("heading", level=1)).to_have_text("Blood cells of one donor")
    expect(page.get_by_role("main")).to_contain_text("700 cells × 765 genes")
    expect(page.get_by_role("main")).to_contain_text("No download: the donor did not agree")
    expect(page.get_by_role("main")).to_contain_text('<script>alert("never")</script>')
    expect(page.get_by_role("main")).to_contain_text("CD79A, MS4A1")
    expect(page.locator("img")).to_have_count(1)
    expect(page.locator("img")).to_have_js_property("naturalWidth", 640)
    page.screenshot(path=screenshots / "about.png", full_page=True)
    page.get_by_role("link", name="Open in the explorer").click()
    explorer = Explorer(page)
    explorer.wait_drawn()
    expect(page.get_by_text("Blood cells of one donor").first).to_be_visible()
    expect(explorer.at("B cells:geneset-name")).to_be_visible()
    expect(explorer.at("histogram-CD79A")).to_be_visible()
    page.get_by_role("link", name="About", exact=True).click()
    expect(page).to_have_url(f"{described}d/blood.cxg/about")
    page.go_back()
    explorer.wait_drawn()
    page.screenshot(path=screenshots / "about-explorer.png")


@pytest.mark.parametrize("page", [DARK_PHONE], indirect=True)
@pytest.mark.parametrize("path", ["", "d/blood.cxg/about", "c/First%20steps/", "?tissue=bone%20marrow&q=donor"])
def test_on_a_dark_phone_nothing_is_cut_off(page, described, screenshots, path):
    page.goto(described + path)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    name = path.replace("/", "-").replace("?", "") or "list"
    page.screenshot(path=screenshots / f"described-phone-{name}.png", full_page=True)


@pytest.mark.parametrize("page", [{}, NO_SCRIPTS], indirect=True, ids=["scripts", "no scripts"])
def test_the_list_is_narrowed_by_facets(page, described, screenshots, request):
    page.goto(described)
    assert titles(page) == ["Blood cells of one donor", "Bone marrow", "Mouse spleen"]
    page.locator("summary", has_text="Tissue").click()
    page.get_by_label("bone marrow").check()
    has_scripts = "no scripts" not in request.node.name
    if not has_scripts:
        page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("status")).to_have_text("2 of 3 datasets")
    assert titles(page) == ["Blood cells of one donor", "Bone marrow"]
    assert "tissue=bone+marrow" in page.url
    expect(page.get_by_label("bone marrow")).to_be_checked()
    expect(page.locator("label", has_text="Mus musculus").locator(".count")).to_have_text("0")
    page.screenshot(path=screenshots / f"facets-{'scripts' if has_scripts else 'none'}.png")
    page.reload()
    assert titles(page) == ["Blood cells of one donor", "Bone marrow"]
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_role("status")).to_have_text("3 datasets")


def test_facets_by_keyboard_keep_the_focus(page, described):
    page.goto(described)
    page.get_by_role("searchbox", name="Search").focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.locator("summary").first).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    box = page.get_by_label("Homo sapiens")
    expect(box).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("2 of 3 datasets")
    expect(box).to_be_focused()


def test_every_text_is_searched_and_the_order_can_be_chosen(page, described):
    page.goto(described)
    page.get_by_role("searchbox").fill("möhre")
    expect(page.get_by_role("status")).to_have_text("1 of 3 datasets")
    assert titles(page) == ["Mouse spleen"]
    page.get_by_role("searchbox").fill("")
    expect(page.get_by_role("status")).to_have_text("3 datasets")
    page.get_by_label("Sort by").select_option("newest")
    page.wait_for_url("**sort=newest")
    expect(page.locator(".card h2").first).to_have_text("Blood cells of one donor")


def test_a_collection_has_its_own_list(page, described, screenshots):
    page.goto(described)
    page.get_by_role("navigation", name="Collections").get_by_role("link", name="First steps").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("First steps")
    assert titles(page) == ["Blood cells of one donor", "Mouse spleen"]
    page.screenshot(path=screenshots / "collection.png")
    page.get_by_role("searchbox").fill("mouse")
    expect(page.get_by_role("status")).to_have_text("1 of 2 datasets")
    page.locator(".card:visible").get_by_role("link", name="Mouse spleen").click()
    Explorer(page).wait_drawn()
    page.go_back()
    page.get_by_role("link", name="Datasets", exact=True).click()
    expect(page).to_have_url(described)


@pytest.mark.parametrize("page", [{"color_scheme": "light"}, DARK_PHONE], indirect=True, ids=["light", "dark phone"])
def test_axe_finds_nothing(page, described):
    expression = "d/blood.cxg/expression?by=louvain&genes="
    for path in (
        *("", "?tissue=blood", "c/First%20steps/", "d/blood.cxg/about", "d/none.cxg/about"),
        *("d/blood.cxg/expression", f"{expression}CD79A%2CCST3", f"{expression}NOSUCH"),
    ):
        page.goto(described + path)
        for one in page.locator("summary").all():
            if one.evaluate("one => !one.parentElement.open"):
                one.click()
        assert (path, violations(page)) == (path, [])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    page.faults.lines[:] = [line for line in page.faults.lines if "none.cxg" not in line]


def test_every_control_has_a_name_and_every_heading_its_place(page, described):
    """The checks of accessibility tools that concern our own markup."""
    for path in ("", "d/blood.cxg/about", "c/First%20steps/"):
        page.goto(described + path)
        for role in ("link", "button", "checkbox", "searchbox", "combobox"):
            for one in page.get_by_role(role).all():
                assert one.evaluate(
                    "one => (one.innerText || one.labels?.[0]?.innerText || one.alt || one.querySelector('img')?.alt || '').trim()"
                ), (path, role)
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((one) => Number(one.tagName[1]))"
        )
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), levels
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))
        assert page.evaluate("[...document.images].every((one) => one.hasAttribute('alt'))")
