"""One server and one Chromium for all browser tests; a new context with a watch on it for each."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from tests.browser import serving

ODD_NAME = "T cells, 50% & more (β).cxg"


def pytest_ignore_collect(config):
    """The unit tests' environment has no Playwright; where browser tests are chosen, its absence is an error."""
    if "not browser" in config.option.markexpr and importlib.util.find_spec("playwright") is None:
        return True
    return None


@pytest.fixture(scope="session", autouse=True)
def no_proxy():
    """Everything here is on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="session")
def dataroot(tmp_path_factory):
    """The sample, the same under a name that has to be quoted, and a damaged one."""
    serving.require_built()
    root = tmp_path_factory.mktemp("dataroot")
    for name in ("pbmc68k_reduced.cxg", ODD_NAME, "damaged.cxg"):
        shutil.copytree(serving.SAMPLE, root / name)
    for part in ("__fragments", "__commits"):
        shutil.rmtree(root / "damaged.cxg" / "obs" / part)
    return root


@pytest.fixture(scope="session")
def server(dataroot, tmp_path_factory):
    """URL of the start page."""
    with serving.launched(dataroot, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def chromium():
    """The browser. Playwright's own download is not used."""
    from playwright import sync_api

    path = serving.find_chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=serving.CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures for a person to look at go; git ignores it."""
    folder = serving.PROJECT / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(chromium, request):
    """A page on which nothing may go wrong: no console error, failed request, foreign host or cookie."""
    from tests.browser.watched import watch

    options = getattr(request, "param", {})
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 860}} | options)
    page = context.new_page()
    page.faults = watch(page)
    yield page
    cookies = context.cookies()
    context.close()
    assert cookies == []
    assert page.faults.lines == []
    assert page.faults.hosts == {"127.0.0.1"}
