"""A dot plot as SVG: a dot for each gene and label, its area the fraction of cells above zero, its colour the mean.

The picture has presentation attributes alone, no style and no script, so it looks the same in a page with a strict
policy, in a viewer and in a paper.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from html import escape
from math import isfinite

import numpy as np

from cxg.web.expression.table import Table
from cxg.web.start_page.texts import shorten

STEP = 26
"""Distance of rows and columns, in pixels."""

_RADIUS, _FONT, _GAP = 11.0, 12, 8
_TITLE_HEIGHT, _LEGEND_WIDTH, _LEGEND_HEIGHT = 40, 150, 250
_NAME_MAX, _TITLE_MAX = 40, 90
# Places on the colour scale, and red, green and blue at each.
_STOPS = (0.0, 0.5, 1.0)
_CHANNELS = ((237, 94, 8), (243, 156, 48), (250, 211, 107))
_INK, _QUIET, _RIM = "#1b2330", "#4d596b", "#8a97a8"


def dot_plot(table: Table, title: str) -> str:
    """Draw a table.

    Parameters
    ----------
    table : Table
        With at least one gene and one label.
    title : str
        Of the dataset.

    Returns
    -------
    str
        An SVG document that refers to nothing outside itself.
    """
    genes = [shorten(gene, _NAME_MAX) for gene in table.genes]
    labels = [shorten(label, _NAME_MAX) for label in table.labels]
    left = _GAP + max(map(_width, labels)) + _GAP
    top = _TITLE_HEIGHT + max(map(_width, genes)) + _GAP
    right = left + STEP * len(genes) + 2 * _GAP
    heading = shorten(f"{title} · mean expression by {table.by}", _TITLE_MAX)
    width = round(max(right + _LEGEND_WIDTH, _GAP + _width(heading) * 1.25 + _GAP))
    height = round(max(top + STEP * len(labels), _TITLE_HEIGHT + _LEGEND_HEIGHT) + _GAP)
    low, high = _bounds(table)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f"<title>{escape(heading)}</title>",
        f'<g font-family="Arial, Helvetica, sans-serif" font-size="{_FONT}" fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_GAP}" y="24" font-size="15" font-weight="bold">{escape(heading)}</text>',
        *_axes(genes, labels, left, top),
        *_dots(table, left, top, low, high),
        *_legend(right, _TITLE_HEIGHT + 4 * _GAP, low, high),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bounds(table: Table) -> tuple[float, float]:
    """Return the ends of the colour scale; it begins at zero unless a mean is negative."""
    finite = table.mean[np.isfinite(table.mean)]
    return min(0.0, float(finite.min(initial=0.0))), float(finite.max(initial=0.0))


def _axes(genes: list[str], labels: list[str], left: float, top: float) -> Iterator[str]:
    yield f'<g stroke="{_RIM}" stroke-opacity="0.3">'
    for row in range(len(labels)):
        y = top + STEP * (row + 0.5)
        yield f'<path d="M{left:g} {y:g}h{STEP * len(genes)}"/>'
    yield "</g>"
    yield '<g text-anchor="end">'
    for row, label in enumerate(labels):
        yield f'<text x="{left - _GAP:g}" y="{top + STEP * (row + 0.5) + 4:g}">{escape(label)}</text>'
    yield "</g>"
    yield '<g font-style="italic">'
    for column, gene in enumerate(genes):
        x = left + STEP * (column + 0.5) + 4
        yield f'<text transform="translate({x:g} {top - _GAP:g}) rotate(-90)">{escape(gene)}</text>'
    yield "</g>"


def _dots(table: Table, left: float, top: float, low: float, high: float) -> Iterator[str]:
    yield f'<g stroke="{_RIM}" stroke-width="0.5">'
    for column in range(len(table.genes)):
        x = left + STEP * (column + 0.5)
        for row in range(len(table.labels)):
            fraction, mean = float(table.fraction[column, row]), float(table.mean[column, row])
            if fraction > 0:
                color = _color((mean - low) / (high - low)) if isfinite(mean) and high > low else "#ffffff"
                radius = _radius(fraction)
                yield f'<circle cx="{x:g}" cy="{top + STEP * (row + 0.5):g}" r="{radius:.2f}" fill="{color}"/>'
    yield "</g>"


def _legend(x: float, y: float, low: float, high: float) -> Iterator[str]:
    yield f'<text x="{x:g}" y="{y:g}">Fraction of cells &gt; 0</text>'
    for k, fraction in enumerate((0.2, 0.4, 0.6, 0.8, 1.0)):
        at = y + 20 + 24 * k
        yield f'<circle cx="{x + _RADIUS:g}" cy="{at:g}" r="{_radius(fraction):.2f}" fill="{_QUIET}"/>'
        yield f'<text x="{x + 2 * _RADIUS + _GAP:g}" y="{at + 4:g}">{fraction:.0%}</text>'
    y += 160
    yield '<linearGradient id="mean">'
    yield from (f'<stop offset="{at:g}" stop-color="{_color(at)}"/>' for at in _STOPS)
    yield "</linearGradient>"
    yield f'<text x="{x:g}" y="{y:g}">Mean expression</text>'
    yield f'<rect x="{x:g}" y="{y + 10:g}" width="110" height="14" fill="url(#mean)"/>'
    yield f'<text x="{x:g}" y="{y + 40:g}">{low:.3g}</text>'
    yield f'<text x="{x + 110:g}" y="{y + 40:g}" text-anchor="end">{high:.3g}</text>'


def _radius(fraction: float) -> float:
    """Return the radius of a dot whose area grows with the fraction."""
    return float(_RADIUS * fraction**0.5)


def _color(at: float) -> str:
    """Return the colour at a place of the scale, 0 to 1."""
    return "#" + "".join(f"{round(float(np.interp(at, _STOPS, channel))):02x}" for channel in _CHANNELS)


def _width(text: str) -> float:
    """Estimate the width of a text in pixels; letters of East Asian scripts are as wide as high."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return _FONT * (0.58 * (len(text) - wide) + wide)
