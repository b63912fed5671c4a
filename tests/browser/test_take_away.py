"""What a visitor takes away from the client: the table of a comparison, pictures, names of cells, expression by label."""

import base64
import io
import json
import re
import urllib.request
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.explorer import Explorer, share_of
from tests.tables import read_table

pytestmark = pytest.mark.browser

DATASET = "d/pbmc68k_reduced.cxg/"
MONOCYTES, B_CELLS = "CD14+ Monocyte", "CD19+ B"
SIZES = {MONOCYTES: 129, B_CELLS: 95}
SVG = "{http://www.w3.org/2000/svg}"
DARK_PHONE = {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
SHARP = {"viewport": {"width": 1280, "height": 860}, "device_scale_factor": 2}


@pytest.fixture
def explorer(page, server):
    explorer = Explorer(page)
    explorer.open(server + DATASET)
    return explorer


def api(server, route, **headers):
    request = urllib.request.Request(f"{server}{DATASET}api/v0.2/{route}", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def taken(explorer, name):
    """Choose an entry of the menu and return the file: its name and its bytes."""
    # The client's tooltips cover our buttons as long as the pointer rests on its own.
    explorer.page.mouse.move(640, 600)
    explorer.page.get_by_role("button", name="Download", exact=True).click()
    with explorer.page.expect_download() as download:
        explorer.page.get_by_role("button", name=name).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def select_only(explorer, *labels):
    explorer.expand("bulk_labels")
    explorer.tick_all("bulk_labels", on=False)
    for label in labels:
        explorer.tick("bulk_labels", label, on=True)


def parts_of(svg):
    """All texts of a picture, and its image of the points."""
    root = ET.fromstring(svg)
    image = root.find(f"{SVG}image")
    png = base64.b64decode(image.get("href").removeprefix("data:image/png;base64,"))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    return root, texts, image, Image.open(io.BytesIO(png)).convert("RGB")


def test_the_table_of_a_comparison(explorer, screenshots):
    page = explorer.page
    button = page.get_by_role("button", name="Table (CSV)")
    expect(button).to_have_count(0)
    found = explorer.compare("bulk_labels", SIZES).json()
    expect(button).to_be_visible()
    page.screenshot(path=screenshots / "take-away-comparison.png")
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename == "pbmc68k_reduced-comparison.csv"
    table = read_table(download.value.path().read_bytes())
    assert (table.notes["cells in set1"], table.notes["cells in set2"]) == ("129", "95")
    numbers = [[float(row[name]) for name in ("log_fold_change", "p", "p_adjusted")] for row in table.rows]
    assert numbers == [entry[1:] for entry in found["positive"] + found["negative"]]
    assert {"CST3", "LYZ"} <= {row["gene"] for row in table.rows if row["higher_in"] == "set1"}
    assert {"CD79A", "CD79B"} <= {row["gene"] for row in table.rows if row["higher_in"] == "set2"}


def test_a_refusal_is_told_in_the_words_of_the_server(explorer):
    page = explorer.page
    explorer.compare("bulk_labels", SIZES)
    page.route("**/diffexp/obs", lambda route: route.fulfill(status=429, json={"message": "Too many wait. Try later."}))
    page.get_by_role("button", name="Table (CSV)").click()
    expect(page.get_by_role("alert")).to_contain_text("Too many wait. Try later.")
    page.faults.lines[:] = [line for line in page.faults.lines if "429" not in line]


def test_the_names_of_selected_cells(explorer, server):
    name, body = taken(explorer, "Selected cells (CSV)")
    assert name == "pbmc68k_reduced-cells.csv"
    every = [row["cell"] for row in read_table(body).rows]
    assert len(every) == len(set(every)) == 700
    select_only(explorer, B_CELLS)
    explorer.wait_for_cells(lambda some, _: some == 95)
    table = read_table(taken(explorer, "Selected cells (CSV)")[1])
    cells = [row["cell"] for row in table.rows]
    assert table.notes["cells"] == "95 of 700"
    assert table.notes["dataset"] == "pbmc68k_reduced.cxg"
    assert len(cells) == 95
    assert set(cells) < set(every)
    # In a subset, positions are no longer those of the dataset.
    explorer.at("subset-button").click()
    explorer.wait_for_cells(lambda some, all_cells: some == all_cells == 95)
    assert [row["cell"] for row in read_table(taken(explorer, "Selected cells (CSV)")[1]).rows] == cells


@pytest.mark.parametrize("page", [{}, SHARP], indirect=True, ids=["plain", "sharp screen"])
def test_a_picture_of_labels(explorer, server, screenshots):
    table = api(server, "colors")["bulk_labels"]
    colors = {label: color for label, color in table.items() if label not in ("null", "NaN")}
    explorer.color_by("bulk_labels")
    explorer.wait_for_dots(lambda dots: share_of(dots, colors[MONOCYTES]) > 0.03)
    explorer.at("centroid-label-toggle").click()
    explorer.at(f"{MONOCYTES}-centroid-label").wait_for()
    box = explorer.at("layout-graph").bounding_box()
    name, svg = taken(explorer, "Picture (SVG)")
    assert name == "pbmc68k_reduced-bulk_labels.svg"
    (screenshots / "picture-labels.svg").write_bytes(svg)
    root, texts, image, points = parts_of(svg)
    assert texts[0] == explorer.page.evaluate("JSON.parse(document.getElementById('cxg-visit').textContent).title")
    assert "coloured by bulk_labels" in texts[1]
    assert {"umap_0", "umap_1"} <= set(texts)
    assert texts.count(MONOCYTES) == 2  # on the plot and in the legend
    assert "129" in texts
    assert len([one for one in root.iter(f"{SVG}rect") if one.get("fill", "").startswith("rgb")]) == len(colors)
    assert (float(image.get("width")), float(image.get("height"))) == (box["width"], box["height"])
    assert points.size == (2 * box["width"], 2 * box["height"])
    pixels = np.asarray(points).reshape(-1, 3).astype(np.int16)
    assert share_of(pixels[(pixels < 240).any(axis=1)], colors[MONOCYTES]) > 0.05
    name, png = taken(explorer, "Picture (PNG)")
    assert name == "pbmc68k_reduced-bulk_labels.png"
    (screenshots / "picture-labels.png").write_bytes(png)
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    assert whole.size == (2 * int(root.get("width")), 2 * int(root.get("height")))
    # What is beside the plot is there too: the legend's colours are right of it.
    right = np.asarray(whole)[:, 2 * int(36 + box["width"]) + 4 :].reshape(-1, 3).astype(np.int16)
    assert all(share_of(right, color, tolerance=3) > 0.0001 for color in colors.values())
    # The plot on the screen is as it was.
    assert explorer.at("layout-graph").bounding_box() == box
    explorer.page.screenshot(path=screenshots / "picture-after.png")
    explorer.wait_for_dots(lambda dots: len(dots) > 500)


def test_points_are_drawn_anew_at_twice_the_pixels(explorer):
    """Enlarged pixels would be equal in squares of four; of points that were drawn anew, many are not."""
    explorer.color_by("bulk_labels")
    *_, points = parts_of(taken(explorer, "Picture (SVG)")[1])
    pixels = np.asarray(points).astype(np.int16)
    squares = pixels.reshape(pixels.shape[0] // 2, 2, pixels.shape[1] // 2, 2, 3)
    uneven = (squares != squares[:, :1, :, :1]).any(axis=(1, 3, 4))
    dotted = (squares < 240).any(axis=(1, 3, 4))
    assert uneven.sum() > 0.1 * dotted.sum()
    # A dot covers as much of the picture as of the screen.
    on_screen = len(explorer.dots())
    assert 0.7 < (pixels < 240).any(axis=2).sum() / 4 / on_screen < 1.4


def test_a_picture_of_a_gene(explorer, screenshots):
    explorer.add_gene("CST3")
    explorer.color_by("CST3")
    explorer.page.locator("#continuous_legend canvas").wait_for()
    name, svg = taken(explorer, "Picture (SVG)")
    assert name == "pbmc68k_reduced-CST3.svg"
    root, texts, _, _ = parts_of(svg)
    assert "CST3" in texts
    stops = [one.get("stop-color") for one in root.iter(f"{SVG}stop")]
    assert len(stops) > 10
    numbers = [float(text) for text in texts if re.fullmatch(r"-?[\d.]+", text)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 5
    # The highest value is the darkest, as on the screen.
    assert sum(map(int, re.findall(r"\d+", stops[0]))) < sum(map(int, re.findall(r"\d+", stops[-1])))
    (screenshots / "picture-gene.png").write_bytes(taken(explorer, "Picture (PNG)")[1])


def test_a_plain_picture_of_a_selection(explorer):
    select_only(explorer, B_CELLS)
    explorer.wait_for_cells(lambda some, _: some == 95)
    name, svg = taken(explorer, "Picture (SVG)")
    assert name == "pbmc68k_reduced-cells.svg"
    assert "95 of 700 cells selected" in parts_of(svg)[1][1]


def test_the_menu_by_keyboard(explorer, screenshots):
    page = explorer.page
    opener = page.get_by_role("button", name="Download", exact=True)
    opener.focus()
    page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("button", name="Picture (PNG)")).to_be_focused()
    page.screenshot(path=screenshots / "take-away-menu.png")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Picture (SVG)")).to_be_focused()
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    expect(opener).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("button", name="Picture (PNG)")).to_be_hidden()


def test_from_the_client_to_expression_by_label(explorer, screenshots):
    page = explorer.page
    for gene in ("CST3", "CD79A"):
        explorer.add_gene(gene)
    explorer.color_by("louvain")
    page.get_by_role("button", name="Download", exact=True).click()
    link = page.get_by_role("link", name="Expression by label")
    address = link.get_attribute("href")
    assert address.endswith("&by=louvain")
    page.goto(urljoin(page.url, address))
    # The client turns round its list of genes whenever it draws it.
    check_expression_page(page, sorted(["CST3", "CD79A"], reverse="CST3%2C" in address))
    page.screenshot(path=screenshots / "expression.png", full_page=True)


def check_expression_page(page, genes):
    plot = page.locator("figure img")
    expect(plot).to_have_js_property("complete", True)
    assert plot.evaluate("one => one.naturalWidth") > 100
    heads = page.locator("thead th").all_inner_texts()
    assert heads[1:] == ["Cells", *genes]


def test_the_page_asks_and_answers(page, server, screenshots):
    page.goto(f"{server}{DATASET}expression")
    page.get_by_label("Genes, separated by commas").fill("CD79A, nope, CST3")
    page.get_by_label("Column of labels").select_option("bulk_labels")
    page.get_by_role("button", name="Show").press("Enter")
    check_expression_page(page, ["CD79A", "CST3"])
    expect(page.get_by_role("status")).to_have_text("Not in this dataset: nope.")
    for name, ending in (("Numbers (CSV)", "csv"), ("Picture (SVG)", "svg")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == f"pbmc68k_reduced-expression.{ending}"
        body = download.value.path().read_bytes()
        if ending == "csv":
            rows = read_table(body).rows
            assert [row["gene"] for row in rows] == ["CD79A"] * 10 + ["CST3"] * 10
            assert {row["label"]: row["cells"] for row in rows}[B_CELLS] == "95"
        else:
            assert ET.fromstring(body).tag == f"{SVG}svg"
    page.locator(".dataset a").click()
    Explorer(page).wait_drawn()


@pytest.mark.parametrize("page", [DARK_PHONE], indirect=True)
def test_the_page_on_a_dark_phone(page, server, screenshots):
    genes = "CD79A,CST3,NKG7,LYZ,CD3D,S100A8"
    page.goto(f"{server}{DATASET}expression?genes={genes}&by=bulk_labels")
    assert page.locator("thead th").count() >= 6
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    page.screenshot(path=screenshots / "expression-dark-phone.png", full_page=True)
