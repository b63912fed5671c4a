"""A link for reviewers, as the reviewer opens it: the dataset is drawn, the token leaves the address bar."""

from __future__ import annotations

import shutil
import time

import pytest
from playwright.sync_api import expect

from cxg.cli.main import main
from tests.browser import serving
from tests.browser.explorer import Explorer

pytestmark = pytest.mark.browser
REVOKED_WITHIN_S = 30
KEY = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """URL of a site whose two datasets are hidden, the same below a prefix, folder of the datasets, configuration."""
    serving.require_built()
    root, folder = tmp_path_factory.mktemp("hidden"), tmp_path_factory.mktemp("site")
    for name in ("liver", "heart"):
        shutil.copytree(serving.SAMPLE, root / f"{name}.cxg")
    config = folder / "config.yaml"
    config.write_text(f"server:\n  flask_secret_key: {KEY}\naccess:\n  visible_to: []\n")
    with (
        serving.launched(root, folder / "log", serving.CLIENT, "--config", str(config)) as url,
        serving.nginx_before(url, folder) as before,
    ):
        yield url, f"{before}cells/", root, config


@pytest.mark.parametrize("prefixed", [False, True], ids=["at the root", "below a prefix"])
def test_a_reviewer_sees_the_dataset_and_nothing_else(chromium, site, screenshots, capsys, prefixed):
    url = site[1] if prefixed else site[0]
    options = ["--config", str(site[3]), "--dataroot", str(site[2])]
    assert main(["share", "liver", "--until", "2099-01-31", "--site", url, *options]) == 0
    link = capsys.readouterr().out.strip()
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    try:
        assert page.goto(f"{url}d/liver.cxg/").status == 404
        Explorer(page).open(f"{link}&color=louvain")
        expect(page).to_have_url(f"{url}d/liver.cxg/?color=louvain")
        page.screenshot(path=screenshots / "share.png")
        (cookie,) = context.cookies()
        path = "/cells/d/liver.cxg" if prefixed else "/d/liver.cxg"
        assert (cookie["name"], cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == (
            "cxg-share",
            path,
            True,
            "Lax",
        )
        assert page.evaluate("document.cookie") == ""
        page.reload()
        Explorer(page).wait_drawn()
        assert page.goto(f"{url}d/heart.cxg/").status == 404
        assert "liver" not in page.goto(url).text()
        assert main(["share", "liver", "--revoke", *options]) == 0
        capsys.readouterr()
        deadline = time.monotonic() + REVOKED_WITHIN_S
        while page.goto(f"{url}d/liver.cxg/about").status != 404:
            assert time.monotonic() < deadline
            page.wait_for_timeout(500)
    finally:
        context.close()
