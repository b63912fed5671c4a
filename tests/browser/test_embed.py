"""A plot in a frame of another page, with `?embed=1`."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading

import pytest
from playwright.sync_api import expect

from tests.browser import serving
from tests.browser.explorer import Explorer, view_of

pytestmark = pytest.mark.browser

DATASET = "d/pbmc68k_reduced.cxg/"
HOST = """<!doctype html><title>A portal</title><link rel="icon" href="data:,"><h1>A portal</h1>
<iframe title="cells" src="{url}" width="{width}" height="420"></iframe>"""


@contextlib.contextmanager
def portal(folder):
    """Another site: a server of files on a port of its own, which makes it another origin."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """URL of our site, origin of a portal that may embed it, origin of one that may not, folder of their pages."""
    serving.require_built()
    top = tmp_path_factory.mktemp("embed")
    shutil.copytree(serving.SAMPLE, top / "data" / "pbmc68k_reduced.cxg")
    (top / "pages").mkdir()
    with portal(top / "pages") as allowed, portal(top / "pages") as other:
        config = top / "config.yaml"
        config.write_text(f"server: {{embed_origins: ['{allowed}']}}\n")
        with serving.launched(top / "data", top / "log", serving.CLIENT, "--config", str(config)) as url:
            yield url, allowed, other, top / "pages"


def visit(page, sites, origin, query, width=640):
    url, *_, pages = sites
    (pages / "page.html").write_text(HOST.format(url=f"{url}{DATASET}?{query}".replace("&", "&amp;"), width=width))
    page.goto(f"{origin}/page.html")
    return page.frame_locator("iframe")


@pytest.mark.parametrize("width", [640, 340])
def test_a_named_portal_shows_the_plot_alone(page, sites, screenshots, width):
    url, allowed, *_ = sites
    frame = visit(page, sites, allowed, "embed=1&color=louvain&labels=1", width)
    graph = frame.get_by_test_id("layout-graph")
    graph.wait_for(timeout=30_000)
    expect(frame.get_by_test_id("1-centroid-label")).to_be_attached(timeout=30_000)
    for mark in ("gene-search", "category-louvain", "mode-lasso", "undo"):
        expect(frame.get_by_test_id(mark)).to_be_hidden()
    assert graph.bounding_box()["width"] >= width - 20
    link = frame.get_by_role("link", name="Open in full")
    expect(link).to_be_visible()
    page.screenshot(path=screenshots / f"embed-{width}.png")
    with page.expect_popup() as opened:
        link.click()
    full = Explorer(opened.value)
    full.wait_drawn()
    assert full.page.url == f"{url}{DATASET}?color=louvain&labels=1"
    expect(full.at("gene-search")).to_be_visible()
    assert view_of(full.page)["color"] == "louvain"
    full.page.close()


def test_moving_the_plot_adds_nothing_to_the_portals_history(page, sites):
    _, allowed, *_ = sites
    frame = visit(page, sites, allowed, "embed=1")
    frame.get_by_test_id("layout-graph").wait_for(timeout=30_000)
    length = page.evaluate("history.length")
    box = page.locator("iframe").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 230, steps=4)
    page.mouse.up()
    page.wait_for_function("() => window.frames.length === 1")
    page.wait_for_timeout(1_000)
    assert "zoom=" in page.frames[1].url
    assert page.evaluate("history.length") == length


def test_a_named_portal_reads_data_and_another_may_not(page, sites):
    url, allowed, other, pages = sites
    (pages / "empty.html").write_text("<!doctype html><title>x</title><link rel='icon' href='data:,'>")
    read = f"fetch('{url}{DATASET}api/v0.2/schema').then((answer) => answer.json()).then((found) => found.schema.dataframe.nObs)"
    page.goto(f"{allowed}/empty.html")
    assert page.evaluate(read) == 700
    page.goto(f"{other}/empty.html")
    assert page.evaluate(f"{read}.catch((error) => error.name)") == "TypeError"
    page.faults.lines.clear()


def test_another_site_gets_no_frame(page, sites):
    *_, other, _ = sites
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        visit(page, sites, other, "embed=1")
    assert page.frame_locator("iframe").get_by_test_id("layout-graph").count() == 0
    page.faults.lines.clear()
