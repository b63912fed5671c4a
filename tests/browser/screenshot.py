"""Take the picture of the README: ``python -m tests.browser.screenshot`` after `make client sample`.

Opens the link that stands below the picture, in a real Chromium on a real server, and writes
docs/screenshot.png with a palette, below 200 kB.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.browser import serving
from tests.browser.explorer import Explorer

TARGET = serving.PROJECT / "docs" / "screenshot.png"
LIMIT_BYTES = 200_000
VIEW = "gene=CST3&gene=CD79A&gene=NKG7&color=bulk_labels&labels=1"


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
    explorer.open(f"{url}?{VIEW}")
    explorer.expand("bulk_labels")
    explorer.at("histogram-NKG7").wait_for()
    explorer.at("NKG7:gene-label").wait_for()
    expect(explorer.at("colorby-bulk_labels")).to_have_class(re.compile("active"))
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
