"""The visit in Firefox: links, the button that copies them, files to take away, messages, frames."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.firefox import Firefox, launched_firefox

pytestmark = pytest.mark.browser

SAMPLE = "d/pbmc68k_reduced.cxg/"
READY = (
    "return !!document.querySelector('[data-testid=\"layout-graph\"]') && !!document.querySelector('#cxg-copy-link')"
)
NOTES = "return [...document.querySelectorAll('.cxg-note p')].map((note) => note.textContent)"


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    with launched_firefox(tmp_path_factory.mktemp("firefox")) as found:
        yield found
        assert found.complaints() == []


def visit(firefox: Firefox, address: str) -> None:
    firefox.open(address)
    firefox.wait_for(READY)


def saved(firefox: Firefox, ending: str) -> Path:
    """The file that a button saved, once it is complete."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = [path for path in firefox.downloads.iterdir() if path.name.endswith(ending)]
        if found and found[0].stat().st_size and not list(firefox.downloads.glob("*.part")):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no file {ending} came")


def colours(path: Path) -> int:
    """How many pixels of a picture are coloured."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(np.int16)
    return int(((pixels.max(axis=2) - pixels.min(axis=2)) > 30).sum())


def test_a_link_shows_its_view(firefox: Firefox, server: str, screenshots: Path) -> None:
    view = (
        "color=bulk_labels&labels=1&layout=pca&select=bulk_labels:CD14%2B+Monocyte,CD19%2B+B&gene=CST3&scatter=CST3,LYZ"
    )
    visit(firefox, f"{server}{SAMPLE}?{view}")
    shown = "return document.querySelector('[data-testid=\"layout-choice\"]').innerText"
    firefox.wait_for(shown, lambda text: "pca: 224 out of 700 cells" in text)
    firefox.wait_for("return !!document.querySelector('[data-testid=\"histogram-CST3\"]')")
    firefox.wait_for("return document.querySelectorAll('[data-testclass=\"centroid-label\"]').length > 3")
    firefox.screenshot(screenshots / "firefox-link.png")
    assert colours(screenshots / "firefox-link.png") > 2_000
    assert firefox.run(NOTES) == []


def test_the_address_follows_and_the_back_button_undoes(firefox: Firefox, server: str) -> None:
    visit(firefox, f"{server}{SAMPLE}")
    firefox.click('[data-testid="colorby-bulk_labels"]')
    firefox.wait_for("return location.search", lambda found: found == "?color=bulk_labels")
    firefox.back()
    firefox.wait_for("return location.search", lambda found: found == "")
    firefox.wait_for("return !document.querySelector('[data-testid=\"colorby-bulk_labels\"].bp3-active')")


def test_unknown_names_are_named(firefox: Firefox, server: str) -> None:
    visit(firefox, f"{server}{SAMPLE}?gene=NOGENE&color=bulk_labels")
    notes = firefox.wait_for(NOTES)
    assert "NOGENE" in notes[0]
    firefox.wait_for("return location.search.includes('color=bulk_labels')")


def test_the_copy_button_says_what_it_did(firefox: Firefox, server: str) -> None:
    visit(firefox, f"{server}{SAMPLE}?color=bulk_labels")
    firefox.click("#cxg-copy-link")
    notes = firefox.wait_for(NOTES)
    assert any("Link copied" in note or "Copy the link" in note for note in notes)


@pytest.mark.parametrize("choice, ending", [("PNG", ".png"), ("SVG", ".svg"), ("cells", "-cells.csv")])
def test_files_can_be_taken_away(firefox: Firefox, server: str, screenshots: Path, choice: str, ending: str) -> None:
    visit(firefox, f"{server}{SAMPLE}?color=bulk_labels&labels=1")
    firefox.click("#cxg-take-away")
    buttons = "[...document.querySelectorAll('#cxg-take-away-panel button')]"
    firefox.run(f"{buttons}.find((one) => one.textContent.includes('{choice}')).click()")
    file = saved(firefox, ending)
    if ending == ".png":
        file.replace(screenshots / "firefox-picture.png")
        assert colours(screenshots / "firefox-picture.png") > 2_000
    elif ending == ".svg":
        text = file.read_text()
        assert "data:image/png;base64," in text
        assert "CD14+ Monocyte" in text
    else:
        rows = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        assert len(rows) == 701


def test_markers_are_listed(firefox: Firefox, server: str, screenshots: Path) -> None:
    visit(firefox, f"{server}{SAMPLE}?markers=louvain")
    firefox.wait_for("return document.querySelectorAll('[data-testid$=\" (louvain):geneset-expand\"]').length > 5")
    firefox.screenshot(screenshots / "firefox-markers.png")


def test_a_frame_shows_the_plot_alone(firefox: Firefox, server: str, screenshots: Path) -> None:
    firefox.open(f"{server}{SAMPLE}?embed=1&color=bulk_labels")
    firefox.wait_for("return !!document.querySelector('[data-testid=\"layout-graph\"]')")
    firefox.wait_for("return [...document.querySelectorAll('a')].some((one) => one.textContent === 'Open in full')")
    assert firefox.run("return [...document.querySelectorAll('.cxg-bar > *')].map((one) => one.textContent)") == [
        "Open in full"
    ]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        firefox.screenshot(screenshots / "firefox-embed.png")
        if colours(screenshots / "firefox-embed.png") > 2_000:
            break
    assert colours(screenshots / "firefox-embed.png") > 2_000
