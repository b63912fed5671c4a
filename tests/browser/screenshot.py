"""Take the picture of the README: ``python -m tests.browser.screenshot`` after `make client sample`.

Opens a link to a view of the sample dataset, coloured by cell type and with three genes listed, in a real
Chromium on a real server, and writes docs/screenshot.png with a palette, below 200 kB.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser import serving
from tests.browser.explorer import Explorer, wait_for_view

TARGET = serving.PROJECT / "docs" / "screenshot.png"
LIMIT_BYTES = 200_000
# Spread of the colours of a plot that is coloured by label; one that is not has hardly any.
MANY_COLOURS = 40
# The README shows the link below the picture.
LINK = "?color=bulk_labels&labels=1&gene=CST3&gene=CD79A&gene=NKG7"


def main() -> None:
    """Write the picture and say how large it is."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving.launched(serving.SAMPLE.parent, Path(folder) / "log") as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=serving.find_chromium(), args=serving.CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        png = take(Explorer(page), f"{url}d/{serving.SAMPLE.name}/{LINK}")
        browser.close()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(png)
    sys.stdout.write(f"{TARGET.relative_to(serving.PROJECT)}: {len(png):,} bytes\n")


def take(explorer: Explorer, url: str) -> bytes:
    """Bring the client into the state worth showing; gives a small PNG of it."""
    explorer.open(url)
    wait_for_view(explorer.page, lambda view: view["color"] == "bulk_labels")
    explorer.expand("bulk_labels")
    explorer.wait_for_dots(lambda dots: len(dots) > 500 and dots.std() > MANY_COLOURS)
    explorer.page.mouse.move(640, 740)
    explorer.page.wait_for_load_state("networkidle")
    shot = Image.open(io.BytesIO(explorer.page.screenshot(animations="disabled"))).convert("RGB")
    out = io.BytesIO()
    shot.quantize(255, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    if out.tell() > LIMIT_BYTES:
        raise SystemExit(f"The picture has {out.tell():,} bytes; the limit is {LIMIT_BYTES:,}.")
    return out.getvalue()


if __name__ == "__main__":
    main()
