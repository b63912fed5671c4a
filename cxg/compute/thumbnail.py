"""A small picture of an embedding: the choice of cells and colours, and the PNG itself.

Works on arrays alone. Pillow is imported when the first picture is drawn: most
worker processes never draw one, and it costs memory at start.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 640, 480
"""Size in pixels: shown at half of it, so that it is sharp on dense screens."""

SAMPLE_CELLS = 20_000
"""Most cells in a picture; more add nothing visible at this size."""

MISSING = "#c8c8c8"
"""Colour of cells without a label."""

_MARGIN = 24
_OVERSAMPLING = 3
_MOST_LABELS = 40
_SEED = 20_200_601  # any fixed number: the same dataset always gives the same picture
_HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")

# Okabe and Ito's set (https://jfly.uni-koeln.de/color/) without its black and with the pale yellow last, then
# Paul Tol's "muted" (https://sronpersonalpages.nl/~pault/): both are made for the common kinds of colour blindness.
_SAFE = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#332288", "#999933",
    "#882255", "#44aa99", "#aa4499", "#117733", "#ddcc77", "#cc6677", "#88ccee", "#e5d52b",
)  # fmt: skip

# What biologists colour by first, best first, as whole words of a column's name.
_GOOD_NAMES = (
    "cell_type", "celltype", "cell_types", "celltypes", "author_cell_type", "bulk_labels", "louvain", "leiden",
    "clusters", "cluster", "cell_ontology_class", "annotation", "annotations", "subclass", "class", "labels", "label",
)  # fmt: skip
_DULL_NAMES = re.compile(r"(_ontology_term_id|uuid|_id|barcode)$", re.IGNORECASE)


def choose_column(candidates: Sequence[tuple[str, int]], coloured: Collection[str] = ()) -> str | None:
    """Choose the categorical column that makes the most informative picture.

    Parameters
    ----------
    candidates : sequence of (name, number of labels)
        All categorical columns, in the dataset's order.
    coloured : collection of str
        Names of the columns for which the dataset has colours.

    Returns
    -------
    str or None
        None when no column has between 2 and 40 labels.
    """

    def rank(item: tuple[int, tuple[str, int]]) -> tuple[bool, int, bool, int]:
        position, (name, _) = item
        word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        good = next((place for place, known in enumerate(_GOOD_NAMES) if word == known), len(_GOOD_NAMES))
        if good == len(_GOOD_NAMES) and any(f"_{known}_" in f"_{word}_" for known in _GOOD_NAMES):
            good -= 1
        return bool(_DULL_NAMES.search(name)), good, name not in coloured, position

    usable = [item for item in enumerate(candidates) if 2 <= item[1][1] <= _MOST_LABELS]
    return min(usable, key=rank)[1][0] if usable else None


def palette(n_labels: int) -> list[str]:
    """Choose `n_labels` colours, as ``#rrggbb``: safe for the colour-blind up to 16, then again in darker tones."""
    tones = (1.0, 0.62, 0.38)
    return [_darker(_SAFE[k % len(_SAFE)], tones[k // len(_SAFE) % len(tones)]) for k in range(n_labels)]


def label_colors(labels: Sequence[object], own: dict[str, str] | None) -> list[str]:
    """Give each label a colour: the dataset's own when they are complete and plain ``#rrggbb``, else ours."""
    if own:
        found = [own.get(str(label), "") for label in labels]
        if all(_HEX_COLOUR.fullmatch(color) for color in found):
            return found
    return palette(len(labels))


def sample_cells(n_obs: int, limit: int = SAMPLE_CELLS) -> NDArray[np.int64]:
    """Choose the cells to draw: (k,) int64, ascending, at most `limit`, the same at every call."""
    if n_obs <= limit:
        return np.arange(n_obs, dtype=np.int64)
    rng = np.random.default_rng(_SEED)
    return np.sort(rng.choice(n_obs, limit, replace=False, shuffle=False)).astype(np.int64)


def draw(xy: NDArray[np.float32], codes: NDArray[np.integer[Any]], colors: Sequence[str]) -> bytes:
    """Draw cells as dots on white.

    Parameters
    ----------
    xy : (n, 2) float32
        Places of the cells in any unit, y upwards; the picture is fitted to them with their proportions kept.
        Cells with a NaN or infinite coordinate are left out.
    codes : (n,) integer
        Position of each cell's colour in `colors`; any other number is a cell without a label, drawn grey and first.
    colors : sequence of ``#rrggbb``

    Returns
    -------
    bytes
        A PNG of 640 x 480 pixels with a palette, 5 to 50 kB. Equal arguments give equal bytes.
    """
    from PIL import Image, ImageDraw  # only here: see the module's docstring

    placed = np.isfinite(xy).all(axis=1)
    points, wanted = xy[placed].astype(np.float64), codes[placed].astype(np.int64)
    wanted[(wanted < 0) | (wanted >= len(colors))] = len(colors)
    # In random order, so that no label lies on top of all others; cells without a label below.
    order = np.random.default_rng(_SEED).permutation(len(points))
    order = order[np.argsort(wanted[order] != len(colors), kind="stable")]

    scale = _OVERSAMPLING
    canvas = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), "#ffffff")
    pen = ImageDraw.Draw(canvas)
    centres = _fit(points[order]) * scale
    radius = _radius(len(points)) * scale
    boxes = np.concatenate([centres - radius, centres + radius], axis=1).tolist()
    fills = [*colors, MISSING]
    for box, code in zip(boxes, wanted[order].tolist(), strict=True):
        pen.ellipse(box, fill=fills[code])
    return _encode(canvas.resize((WIDTH, HEIGHT), Image.Resampling.BOX), fills)


def _fit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert places in any unit to pixels of the final picture, y downwards."""
    if not len(points):
        return points
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([WIDTH - 2 * _MARGIN, HEIGHT - 2 * _MARGIN])
    extent = high - low
    scale = min((room[axis] / extent[axis] for axis in (0, 1) if extent[axis] > 0), default=1.0)
    centred: NDArray[np.float64] = (points - (low + high) / 2) * scale * (1, -1) + (WIDTH / 2, HEIGHT / 2)
    return centred


def _radius(n: int) -> float:
    """Choose a radius in pixels: few cells get dots large enough to see, many small enough to show structure."""
    return float(np.clip(0.18 * np.sqrt(WIDTH * HEIGHT / max(n, 1)), 1.3, 6.0))


def _encode(picture: Image, fills: Sequence[str]) -> bytes:
    """Encode as PNG with a fixed palette: every label's exact colour, and its blends with white for smooth edges."""
    from PIL import Image

    levels = max(1, min(6, 255 // len(fills)))
    entries = [(255, 255, 255)]
    for step in range(levels, 0, -1):
        for color in fills:
            red, green, blue = _rgb(color)
            entries.append(tuple(round(255 + (part - 255) * step / levels) for part in (red, green, blue)))  # type: ignore[arg-type]
    entries = entries[:256]
    reference = Image.new("P", (1, 1))
    reference.putpalette([part for entry in entries for part in entry])
    small = picture.quantize(palette=reference, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, "PNG", optimize=True)
    return out.getvalue()


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _darker(color: str, factor: float) -> str:
    return "#" + "".join(f"{round(part * factor):02x}" for part in _rgb(color))
