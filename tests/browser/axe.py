"""What axe finds on a page: faults that keep people with disabilities from using it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playwright.sync_api import Page

from tests.browser import serving


def violations(page: Page, context: Mapping[str, Sequence[Any]] | None = None) -> list[str]:
    """Return one text for each violation; `context` limits the check to some elements, as axe takes it."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        serving.unavailable("axe-playwright-python of requirements-integration.txt is not installed.")
    found = Axe().run(page, context=context).response["violations"]
    return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]
