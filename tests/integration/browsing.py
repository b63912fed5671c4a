"""A page of a real browser, beside containers that come and go."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser import serving

_ADDRESSES = Path("/proc/net/if_inet6")
_STEADY_S = 3.0
_LIMIT_S = 30.0


@contextlib.contextmanager
def opened_page() -> Iterator[Page]:
    """A page, once the network is steady; it closes with the block."""
    wait_for_steady_network()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=serving.find_chromium(), args=serving.CHROMIUM_FLAGS)
        yield browser.new_page(viewport={"width": 1280, "height": 860})
        browser.close()


def wait_for_steady_network() -> None:
    """Return when no address of this machine has come or gone for a while.

    The interface of a new container settles on its IPv6 address a second or two after the container has started. At
    that moment Chromium gives up every request it is waiting for, with ERR_NETWORK_CHANGED.
    """
    if not _ADDRESSES.exists():
        return
    began = since = time.monotonic()
    last = _ADDRESSES.read_text()
    while (now := time.monotonic()) - since < _STEADY_S:
        assert now - began < _LIMIT_S, f"The addresses of this machine keep changing:\n{last}"
        time.sleep(0.1)
        found = _ADDRESSES.read_text()
        if found != last:
            last, since = found, time.monotonic()
