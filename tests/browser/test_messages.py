"""What the visitor reads when a request fails: the server's own sentence, once, in place of the client's."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from playwright.sync_api import expect

from tests.browser import serving
from tests.browser.explorer import Explorer

pytestmark = pytest.mark.browser

DATASET = "d/pbmc68k_reduced.cxg/"
BUSY = "Too many comparisons of yours wait already; try again in a moment."


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    serving.require_built()
    root = tmp_path_factory.mktemp("messages")
    shutil.copytree(serving.SAMPLE, root / "pbmc68k_reduced.cxg")
    return root


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    with serving.launched(root, tmp_path_factory.mktemp("site") / "log") as url:
        yield url


@pytest.fixture
def explorer(page, site):
    explorer = Explorer(page)
    explorer.open(site + DATASET)
    return explorer


def fail(page, pattern, status, message, **headers):
    """Have one kind of request fail as the server would."""
    body = json.dumps({"message": message})
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}
    page.route(pattern, lambda route: route.fulfill(status=status, headers=headers, body=body))


def forgive(page):
    """The failures of this test are meant, and so is what the browser and the client write about them."""
    page.faults.lines.clear()


def no_toast_of_the_client(page):
    expect(page.locator(".bp3-toast", has_text="Unexpected")).to_have_count(0)


def compare(explorer):
    """Compare two labels, as a person does."""
    explorer.expand("bulk_labels")
    explorer.tick_all("bulk_labels", on=False)
    for number, label in ((1, "CD14+ Monocyte"), (2, "CD19+ B")):
        explorer.tick("bulk_labels", label, on=True)
        explorer.keep_as_set(number)
        explorer.tick("bulk_labels", label, on=False)
    explorer.at("diffexp-button").click()


def test_a_busy_server_says_so_and_the_next_try_works(explorer, screenshots):
    page = explorer.page
    fail(page, "**/diffexp/obs", 429, BUSY, **{"Retry-After": "5"})
    compare(explorer)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(BUSY)
    no_toast_of_the_client(page)
    page.screenshot(path=screenshots / "message-busy.png")
    assert any("429" in line for line in page.faults.lines)
    page.unroute("**/diffexp/obs")
    explorer.at("diffexp-button").click()
    page.locator("[data-testid^='Pop'][data-testid$=':geneset-name']").nth(1).wait_for()
    alert.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".cxg-note")).to_have_count(0)
    forgive(page)


@pytest.mark.parametrize(
    "status, message",
    [
        (400, "Together the sets have 224 cells; at most 100 are allowed."),
        (413, "The body is longer than 9,800 bytes; two lists of the 700 cells of this dataset take no more."),
        (501, "Differential expression is switched off on this server."),
        (503, "The storage does not answer now; try again soon."),
        (507, "This needs 3,000 MB of memory, and the server has 1,000 MB."),
    ],
)
def test_the_servers_sentence_is_shown(explorer, status, message):
    fail(explorer.page, "**/diffexp/obs", status, message)
    compare(explorer)
    expect(explorer.page.get_by_role("alert")).to_contain_text(message)
    no_toast_of_the_client(explorer.page)
    forgive(explorer.page)


def test_a_gene_that_cannot_be_read_is_explained(explorer):
    page = explorer.page
    fail(page, "**/data/var?*", 503, "The storage does not answer now; try again soon.")
    search = explorer.at("gene-search")
    search.fill("CST3")
    expect(explorer.at("suggest-menu-item-CST3")).to_have_class(re.compile("active"))
    search.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The storage does not answer now")
    no_toast_of_the_client(page)
    forgive(page)


def test_an_answer_of_a_proxy_and_a_lost_connection_are_explained_too(explorer):
    page = explorer.page
    page.route("**/diffexp/obs", lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad</h1>"))
    compare(explorer)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The server answered with status 502.")
    page.unroute("**/diffexp/obs")
    page.route("**/diffexp/obs", lambda route: route.abort("connectionrefused"))
    explorer.at("diffexp-button").click()
    expect(alert).to_contain_text("The server could not be reached.")
    no_toast_of_the_client(page)
    forgive(page)


def test_a_sentence_is_text_and_never_markup(explorer):
    page = explorer.page
    fail(page, "**/diffexp/obs", 400, "<img src=x onerror=alert(1)><b>no</b>")
    compare(explorer)
    expect(page.get_by_role("alert")).to_contain_text("<b>no</b>")
    assert page.locator(".cxg-note img").count() == 0
    forgive(page)


def test_switched_off_the_client_speaks_for_itself(page, root, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("visit: {messages: false}\n")
    with serving.launched(root, tmp_path / "log", serving.CLIENT, "--config", str(config)) as url:
        explorer = Explorer(page)
        explorer.open(url + DATASET)
        fail(page, "**/diffexp/obs", 429, BUSY)
        compare(explorer)
        expect(
            page.locator(".bp3-toast", has_text="Unexpected differential expression HTTP response 429")
        ).to_be_visible()
        assert page.locator(".cxg-note").count() == 0
    forgive(page)


def test_a_replaced_dataset_offers_to_reload(page, tmp_path, screenshots):
    """The files really change while the page is open."""
    root = tmp_path / "data"
    target = root / "pbmc68k_reduced.cxg"
    shutil.copytree(serving.SAMPLE, target)
    with serving.launched(root, tmp_path / "log") as url:
        explorer = Explorer(page)
        explorer.open(url + DATASET)
        explorer.add_gene("CST3")
        assert page.locator(".cxg-note").count() == 0
        # Another folder in its place, as the converter does it.
        shutil.copytree(serving.SAMPLE, tmp_path / "new")
        for file in (tmp_path / "new").rglob("*"):
            file.touch()
        target.rename(tmp_path / "old")
        (tmp_path / "new").rename(target)
        alert = page.get_by_role("alert")
        for gene in ["CD79A", "LYZ", "NKG7", "CD3D", "GNLY", "MS4A1", "FCER1A", "PPBP"]:
            explorer.ask_for_gene(gene)
            page.wait_for_timeout(2_000)
            if "replaced" in alert.inner_text():
                break
        expect(alert).to_contain_text("This dataset was replaced")
        # No data of the new files come to the page of the old ones.
        assert any("answer 410" in line for line in page.faults.lines)
        page.faults.lines.clear()
        page.screenshot(path=screenshots / "message-replaced.png")
        with page.expect_navigation():
            alert.get_by_role("button", name="Reload").click()
        explorer.wait_drawn()
        explorer.add_gene("HLA-DRA")
        assert page.locator(".cxg-note").count() == 0
