"""Take the picture of the README: ``python -m tests.browser.screenshot`` after `make client sample`.

Draws the sample dataset, coloured by cell type and with two genes added, in a real Chromium
on a real server, and writes docs/screenshot.png with a palette, below 200 kB.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser import serving
from tests.browser.explorer import Explorer

TARGET = serving.PROJECT / "docs" / "screenshot.png"
LIMIT_BYTES = 200_000
GENES = ("CST3", "CD79A", "NKG7")


def main() -> None:
    """Write the picture and say how large it is."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving.launched(serving.SAMPLE.parent, Path(folder) / "log") as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=serving.find_chromium(), args=serving.CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        png = take(Explorer(page), f"{url}d/{serving.SAMPLE.name}/")
        browser.close()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(png)
    sys.stdout.write(f"{TARGET.relative_to(serving.PROJECT)}: {len(png):,} bytes\n")


def take(explorer: Explorer, url: str) -> bytes:
    """Bring the client into the state worth showing; gives a small PNG of it."""
    explorer.open(url)
    explorer.expand("bulk_labels")
    for gene in GENES:
        explorer.add_gene(gene)
    before = explorer.dots()
    explorer.color_by("bulk_labels")
    explorer.wait_for_dots(lambda dots: len(dots) > 500 and dots.std() > 2 * before.std())
    explorer.page.mouse.move(640, 740)
    explorer.page.wait_for_load_state("networkidle")
    shot = Image.open(io.BytesIO(explorer.page.screenshot(animations="disabled"))).convert("RGB")
    out = io.BytesIO()
    shot.quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    if out.tell() > LIMIT_BYTES:
        raise SystemExit(f"The picture has {out.tell():,} bytes; the limit is {LIMIT_BYTES:,}.")
    return out.getvalue()


if __name__ == "__main__":
    main()
