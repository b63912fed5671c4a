"""The web client on our server, as a person uses it: draw, colour, lasso, subset, differential expression."""

import json
import urllib.request

import pytest

from tests.browser.explorer import Explorer, share_of

pytestmark = pytest.mark.browser

DATASET = "d/pbmc68k_reduced.cxg/"
MONOCYTES, B_CELLS = "CD14+ Monocyte", "CD19+ B"
NOTHING = "#aff05b"  # the client's colour for the lowest expression
SIZES = {MONOCYTES: 129, B_CELLS: 95}


@pytest.fixture
def explorer(page, server):
    explorer = Explorer(page)
    explorer.open(server + DATASET)
    return explorer


@pytest.fixture(scope="module")
def colors(server):
    with urllib.request.urlopen(f"{server}{DATASET}api/v0.2/colors", timeout=30) as answer:
        return json.load(answer)["bulk_labels"]


def test_cells_are_coloured_by_label_and_by_gene(explorer, colors, screenshots):
    plain = explorer.dots()
    assert max(share_of(plain, color) for color in colors.values()) < 0.1
    explorer.color_by("bulk_labels")
    explorer.expand("bulk_labels")
    common = [colors[label] for label in (MONOCYTES, B_CELLS)]
    explorer.wait_for_dots(lambda dots: all(share_of(dots, color) > 0.03 for color in common))
    explorer.page.screenshot(path=screenshots / "label.png")
    explorer.add_gene("CST3")
    explorer.color_by("CST3")
    explorer.wait_for_dots(
        lambda dots: share_of(dots, NOTHING) > 0.2 and all(share_of(dots, color) < 0.01 for color in common)
    )
    explorer.page.screenshot(path=screenshots / "gene.png")


def test_cells_in_a_lasso_become_the_subset_and_back(explorer, screenshots):
    explorer.lasso([(0.05, 0.1), (0.5, 0.1), (0.5, 0.9), (0.05, 0.9)])
    selected, everything = explorer.wait_for_cells(lambda some, every: some < every)
    assert 100 < selected < 600
    assert everything == 700
    explorer.page.screenshot(path=screenshots / "lasso.png")
    explorer.at("subset-button").click()
    explorer.wait_for_cells(lambda some, every: some == every == selected)
    explorer.wait_drawn()
    explorer.page.screenshot(path=screenshots / "subset.png")
    explorer.at("reset-subset-button").click()
    explorer.wait_for_cells(lambda some, every: every == 700)


def test_differential_expression_between_two_labels_makes_gene_sets(explorer, screenshots):
    assert explorer.compare("bulk_labels", SIZES).status == 200
    sets = explorer.page.locator("[data-testid^='Pop'][data-testid$=':geneset-name']")
    sets.nth(1).wait_for()
    assert sets.count() == 2
    names = [sets.nth(k).get_attribute("data-testid").removesuffix(":geneset-name") for k in (0, 1)]
    high = {name[:4]: explorer.genes_of(name) for name in names}
    assert {"CST3", "LYZ"} <= set(high["Pop1"])
    assert {"CD79A", "CD79B"} <= set(high["Pop2"])
    assert [len(genes) for genes in high.values()] == [50, 50]
    explorer.at(f"{names[0]}:colorby-entire-geneset").click()
    explorer.wait_for_dots(lambda dots: len(dots) > 500)
    explorer.page.screenshot(path=screenshots / "diffexp.png")


def test_another_embedding_draws_other_places(explorer, screenshots):
    explorer.at("layout-choice").click()
    explorer.page.get_by_text("pca", exact=False).first.click()
    explorer.page.get_by_text("pca: 700 out of 700 cells").wait_for()
    explorer.wait_drawn()
    explorer.page.screenshot(path=screenshots / "pca.png")


def test_the_page_without_its_final_slash_works_and_keeps_the_query(page, server):
    Explorer(page).open(f"{server}d/pbmc68k_reduced.cxg?from=mail")
    assert page.url == f"{server}{DATASET}?from=mail"
