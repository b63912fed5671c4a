"""Below a path prefix that nginx adds, whether it announces it or not."""

import urllib.parse

import pytest
from playwright.sync_api import expect

from tests.browser import serving
from tests.browser.conftest import ODD_NAME
from tests.browser.explorer import Explorer
from tests.browser.test_list import pictures_are_there

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def proxy(server, tmp_path_factory):
    with serving.nginx_before(server, tmp_path_factory.mktemp("nginx")) as url:
        yield url


@pytest.mark.parametrize("prefix", ["cells", "silent"])
def test_list_dataset_and_logo(page, proxy, screenshots, prefix):
    page.goto(f"{proxy}{prefix}/")
    expect(page.locator(".card")).to_have_count(3)
    pictures_are_there(page)
    page.locator(".card", has_text=ODD_NAME).get_by_role("link").first.click()
    explorer = Explorer(page)
    explorer.wait_drawn()
    assert urllib.parse.unquote(page.url) == f"{proxy}{prefix}/d/{ODD_NAME}/"
    explorer.color_by("louvain")
    explorer.add_gene("CD79A")
    logos = page.locator("img[src*='static/assets/icon']")
    expect(logos.first).to_have_js_property("complete", True)
    assert logos.first.evaluate("one => one.naturalWidth") > 0
    page.screenshot(path=screenshots / f"proxy-{prefix}.png")


@pytest.mark.parametrize("prefix", ["cells", "silent"])
def test_the_missing_slash_is_added_below_the_prefix(page, proxy, prefix):
    Explorer(page).open(f"{proxy}{prefix}/d/pbmc68k_reduced.cxg?x=1")
    assert page.url == f"{proxy}{prefix}/d/pbmc68k_reduced.cxg/?x=1"


@pytest.mark.parametrize("prefix", ["cells", "silent"])
def test_an_error_page_leads_back_to_the_list(page, proxy, prefix):
    page.goto(f"{proxy}{prefix}/d/none.cxg/")
    page.get_by_role("link", name="See all datasets").click()
    expect(page).to_have_url(f"{proxy}{prefix}/")
    page.faults.lines[:] = [line for line in page.faults.lines if "none.cxg" not in line]
