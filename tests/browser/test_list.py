"""The list of datasets: with and without JavaScript, by keyboard, in the dark, while datasets are still being read."""

import shutil
import time
import urllib.request

import pytest
from playwright.sync_api import expect

from cxg.web.start_page.choose import Query
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.page import StartPage
from cxg.web.start_page.summaries import DatasetSummary
from tests.browser import serving
from tests.browser.explorer import Explorer

pytestmark = pytest.mark.browser

NO_SCRIPTS = {"java_script_enabled": False}
DARK_PHONE = {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}, "device_scale_factor": 2}


def cards(page):
    return page.locator(".card:visible")


def pictures_are_there(page):
    """Scroll each picture into view, which loads it, and wait until it has its size."""
    for image in page.locator(".card img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        expect(image).to_have_js_property("naturalWidth", 640)


def test_every_dataset_has_its_card(page, server, screenshots):
    page.goto(server)
    expect(cards(page)).to_have_count(3)
    assert page.locator(".card img").count() == 2
    pictures_are_there(page)
    broken = page.locator(".card.broken")
    expect(broken).to_contain_text("obs")
    expect(broken.locator("a")).to_have_count(0)
    expect(page.locator(".card", has_text="pbmc68k_reduced.cxg")).to_contain_text("700 cells × 765 genes")
    page.screenshot(path=screenshots / "list.png", full_page=True)


@pytest.mark.parametrize("page", [DARK_PHONE], indirect=True)
def test_on_a_dark_phone_nothing_is_cut_off(page, server, screenshots):
    page.goto(server)
    pictures_are_there(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    page.screenshot(path=screenshots / "list-dark-phone.png", full_page=True)


def test_by_keyboard_alone_to_a_dataset(page, server, screenshots):
    page.goto(server)
    keys = page.keyboard
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the datasets")).to_be_focused()
    keys.press("Tab")
    expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    keys.type("cells (β)")
    expect(cards(page)).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 of 3 datasets")
    assert page.url.startswith(f"{server}?q=")
    keys.press("Enter")
    expect(cards(page)).to_have_count(1)
    # The order of sorting, the button and "Show all" are on the way.
    for _ in range(4):
        keys.press("Tab")
    link = cards(page).get_by_role("link").first
    expect(link).to_be_focused()
    assert link.evaluate("one => getComputedStyle(one, '::after').outlineStyle") == "solid"
    page.screenshot(path=screenshots / "list-keyboard.png")
    keys.press("Enter")
    Explorer(page).wait_drawn()


def test_what_was_typed_survives_a_reload_and_can_be_cleared(page, server):
    page.goto(server)
    page.get_by_role("searchbox").fill("damaged")
    expect(cards(page)).to_have_count(1)
    page.reload()
    expect(cards(page)).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    expect(cards(page)).to_have_count(3)
    assert page.url == server


@pytest.mark.parametrize("page", [NO_SCRIPTS], indirect=True)
def test_the_filter_works_without_scripts(page, server):
    page.goto(server)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("β")
    page.keyboard.press("Enter")
    expect(cards(page)).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 of 3 datasets")
    page.get_by_role("link", name="Show all").click()
    expect(cards(page)).to_have_count(3)


@pytest.mark.parametrize("page", [{}, NO_SCRIPTS], indirect=True, ids=["scripts", "no scripts"])
def test_the_list_completes_itself_while_datasets_are_being_read(page, server):
    seen = []

    def first_time_slow(route):
        seen.append(route.request.url)
        if len(seen) > 1:
            route.continue_()
            return
        listed = Listed((DatasetSummary("early.cxg", "Early"),), ("slow.cxg",))
        text = StartPage("d", (), "no-store").answer(listed, Query(), "identity").body.decode()
        route.fulfill(status=200, content_type="text/html; charset=utf-8", body=text)

    page.route(server, first_time_slow)
    page.goto(server)
    expect(page.get_by_text("slow.cxg")).to_be_visible()
    expect(cards(page)).to_have_count(3, timeout=20_000)
    expect(page.get_by_text("Still being read")).to_have_count(0)
    assert len(seen) == 2


def test_a_new_dataset_shows_up_by_itself(tmp_path):
    serving.require_built()
    root = tmp_path / "root"
    root.mkdir()
    with serving.launched(root, tmp_path / "log") as url:
        assert b"No datasets yet" in body(url)
        shutil.copytree(serving.SAMPLE, root / "added.cxg")
        deadline = time.monotonic() + 30
        while b"added.cxg" not in body(url):
            assert time.monotonic() < deadline
            time.sleep(0.5)


def body(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


@pytest.mark.parametrize(
    "path, status, says",
    [("d/nothing.cxg/", 404, "no dataset of that name"), ("d/damaged.cxg/", 404, "obs"), ("no/such/page", 404, "")],
)
def test_a_page_that_cannot_be_shown_says_why_and_leads_back(page, server, screenshots, path, status, says):
    answer = page.goto(server + path)
    assert answer.status == status
    expect(page.get_by_role("main")).to_contain_text(says)
    page.screenshot(path=screenshots / f"error-{path.replace('/', '-')}.png")
    page.get_by_role("link", name="See all datasets").click()
    expect(page).to_have_url(server)
    # The error answer itself is the one fault that is wanted here; Chromium puts it on the console, too.
    page.faults.lines[:] = [line for line in page.faults.lines if path not in line]
