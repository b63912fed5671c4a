"""What a person does in the web client, by the marks its elements carry for tests."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, Response, expect

WAIT_MS = 30_000


class Explorer:
    """The web client, open in a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)

    def open(self, url: str) -> None:
        """Go to a dataset's page and wait until its cells are drawn."""
        self.page.goto(url)
        self.wait_drawn()

    def wait_drawn(self) -> None:
        """Wait for the graph and for some hundred pixels of dots on it."""
        self.at("layout-graph").wait_for()
        self.wait_for_dots(lambda dots: len(dots) > 500)

    def at(self, mark: str) -> Locator:
        """The element that carries this mark."""
        return self.page.get_by_test_id(mark)

    def dots(self) -> np.ndarray:
        """Colours of the pixels of the graph that are not white: (n, 3) int16; controls and the colour scale are cut off."""
        box = self.at("layout-graph").bounding_box()
        assert box is not None
        inner = {"x": box["x"] + 40, "y": box["y"] + 60, "width": box["width"] - 40, "height": box["height"] - 120}
        shot = Image.open(io.BytesIO(self.page.screenshot(clip=inner))).convert("RGB")  # type: ignore[arg-type]
        pixels = np.asarray(shot).reshape(-1, 3).astype(np.int16)
        return pixels[(pixels < 240).any(axis=1)]

    def wait_for_dots(self, met: Callable[[np.ndarray], bool]) -> np.ndarray:
        """Look at the graph again and again until it is as it should be."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < deadline:
            dots = self.dots()
            if met(dots):
                return dots
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the graph never came to look as expected; it has {len(dots)} coloured pixels")

    def color_by(self, name: str) -> None:
        """Colour cells by an annotation or a gene that is listed."""
        self.at(f"colorby-{name}").click()

    def add_gene(self, gene: str) -> None:
        """Find a gene by the search and add it; by Enter, as the list of proposals moves while it opens."""
        self.ask_for_gene(gene)
        self.at(f"histogram-{gene}").wait_for()

    def ask_for_gene(self, gene: str) -> None:
        """Find a gene by the search and add it, whether or not the server has it."""
        search = self.at("gene-search")
        search.fill(gene)
        expect(self.at(f"suggest-menu-item-{gene}")).to_have_class(re.compile("active"))
        search.press("Enter")

    def lasso(self, corners: Sequence[tuple[float, float]]) -> None:
        """Draw round some cells; corners as fractions of the graph's width and height."""
        box = self.at("layout-graph").bounding_box()
        assert box is not None
        self.at("mode-lasso").click()
        mouse = self.page.mouse
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        mouse.move(*points[0])
        mouse.down()
        for point in [*points[1:], points[0]]:
            mouse.move(*point, steps=8)
        mouse.up()

    def shown_cells(self) -> tuple[int, int]:
        """Selected cells and all cells, as written below the graph."""
        text = self.at("layout-choice").inner_text()
        found = re.search(r"(\d+) out of (\d+) cells", text)
        assert found, text
        return int(found[1]), int(found[2])

    def wait_for_cells(self, met: Callable[[int, int], bool]) -> tuple[int, int]:
        """Wait until the numbers below the graph are as they should be."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < deadline:
            numbers = self.shown_cells()
            if met(*numbers):
                return numbers
            self.page.wait_for_timeout(50)
        raise AssertionError(f"selected and all cells stayed {numbers}")

    def expand(self, category: str) -> None:
        """Show the labels of a category."""
        self.at(f"{category}:category-expand").click()
        self.page.locator(f"[data-testid^='categorical-value-select-{category}-']").first.wait_for(state="attached")

    def tick(self, category: str, label: str, on: bool) -> None:
        """Tick or untick one label. The box itself is hidden behind its own drawing."""
        box = self.at(f"categorical-value-select-{category}-{label}")
        box.set_checked(on, force=True)
        expect(box).to_be_checked(checked=on)

    def tick_all(self, category: str, on: bool) -> None:
        """Tick or untick a whole category."""
        box = self.at(f"{category}:category-select")
        box.set_checked(on, force=True)
        expect(box).to_be_checked(checked=on)

    def keep_as_set(self, number: int) -> int:
        """Keep the selected cells as cell set 1 or 2; gives how many they are."""
        self.at(f"cellset-button-{number}").click()
        count = self.at(f"cellset-count-{number}")
        expect(count).not_to_have_text("0")
        return int(count.inner_text())

    def compare(self, category: str, sizes: dict[str, int]) -> Response:
        """Keep two labels as the cell sets, check how many cells each has, compare them; gives the answer."""
        self.expand(category)
        self.tick_all(category, on=False)
        for number, (label, cells) in enumerate(sizes.items(), start=1):
            self.tick(category, label, on=True)
            assert self.keep_as_set(number) == cells
            self.tick(category, label, on=False)
        self.tick_all(category, on=True)
        with self.page.expect_response("**/diffexp/obs") as answer:
            self.at("diffexp-button").click()
        return answer.value

    def genes_of(self, set_name: str) -> list[str]:
        """Open a gene set and list its genes."""
        self.at(f"{set_name}:geneset-expand").click()
        labels = self.page.locator("[data-testid$=':gene-label']")
        expect(labels.first).to_be_visible()
        names = labels.evaluate_all("all => all.map((one) => one.dataset.testid)")
        self.at(f"{set_name}:geneset-expand").click()
        return [name.removesuffix(":gene-label") for name in names]


def share_of(dots: np.ndarray, color: str, tolerance: int = 12) -> float:
    """Share of the pixels that have about this ``#rrggbb`` colour."""
    wanted = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
    return float((np.abs(dots - wanted) <= tolerance).all(axis=1).mean())


# The view as our own modules read it; the browser has them already.
_READ_VIEW = """async () => {
  const folder = document.querySelector("script[type=module]").src.replace(/main\\.js$/, "");
  const [{ findStore }, { readView }] = await Promise.all([import(`${folder}store.js`), import(`${folder}view.js`)]);
  return readView(findStore(), null);
}"""


def view_of(page: Page) -> dict[str, Any]:
    """Genes, colour, labels, embedding, selections, gene sets, scatterplot and zoom that the client shows now."""
    view: dict[str, Any] = page.evaluate(_READ_VIEW)
    return view


def wait_for_view(page: Page, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Read the view again and again until it is as it should be."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        view = view_of(page)
        if met(view):
            return view
        page.wait_for_timeout(100)
    raise AssertionError(f"the view never came to be as expected: {view}")
