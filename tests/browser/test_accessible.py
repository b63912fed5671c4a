"""What is ours in the client's page, as axe sees it: our buttons and notes, light and dark, and the frame's link."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.axe import violations
from tests.browser.explorer import Explorer

pytestmark = pytest.mark.browser

PAGE = "d/pbmc68k_reduced.cxg/"
# The client's own elements are not ours to change.
OURS = {"include": [[".cxg-bar"], [".cxg-notes"]]}
THEMES = pytest.mark.parametrize(
    "page", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True, ids=["light", "dark"]
)


@THEMES
def test_axe_finds_nothing_in_buttons_and_notes(page, server):
    explorer = Explorer(page)
    explorer.open(f"{server}{PAGE}?gene=NOSUCH")
    expect(page.get_by_role("alert")).to_contain_text("NOSUCH")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("status")).to_contain_text("Link copied.")
    assert violations(page, OURS) == []


def test_axe_finds_nothing_in_the_field_and_in_a_frame(page, server):
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined }); document.execCommand = () => false"
    )
    explorer = Explorer(page)
    explorer.open(f"{server}{PAGE}")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("textbox", name="Link to this view")).to_be_visible()
    assert violations(page, OURS) == []
    page.goto(f"{server}{PAGE}?embed=1")
    expect(page.get_by_role("link", name="Open in full")).to_be_visible(timeout=30_000)
    assert violations(page, OURS) == []


@THEMES
def test_axe_finds_nothing_in_the_panel_of_downloads(page, server):
    explorer = Explorer(page)
    explorer.open(f"{server}{PAGE}")
    page.locator("#cxg-take-away").click()
    expect(page.locator("#cxg-take-away-panel")).to_be_visible()
    assert violations(page, OURS) == []


def test_everything_of_ours_is_reached_and_used_by_keyboard(page, server):
    explorer = Explorer(page)
    explorer.open(f"{server}{PAGE}?gene=NOSUCH")
    expect(page.get_by_role("alert")).to_contain_text("NOSUCH")
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        if page.evaluate("document.activeElement.closest('.cxg-note') !== null"):
            break
    assert "cxg-copy-link" in reached
    page.keyboard.press("Enter")
    expect(page.locator(".cxg-note")).to_have_count(0)
