"""The page of expression by label below each dataset, its dot plot and its numbers; kept like the data answers."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from cxg.errors import BadFilter
from cxg.format.dataset import Dataset
from cxg.web.answers.cache import Answer, Planned
from cxg.web.downloads import attachment, origin, shown_title
from cxg.web.expression.dot_plot import dot_plot
from cxg.web.expression.groups import label_columns
from cxg.web.expression.names import join_names, split_names
from cxg.web.expression.table import Table, read_table, require_numbers
from cxg.web.services import current_services
from cxg.web.start_page.page import render
from cxg.web.start_page.routes import relative_root
from cxg.web.start_page.summaries import color_column
from cxg.web.start_page.texts import NAME_MAX, TITLE_MAX, shorten
from cxg.wire.csv_table import CSV, Cell, write_table

_HTML, _SVG = "text/html; charset=utf-8", "image/svg+xml"
_HEADER = ("gene", "label", "cells", "mean", "fraction")
_METHOD = "mean of the values as stored, and fraction of cells with a value above 0, over the cells of each label"
# Estimated: what a number of the table takes while an answer with it is written, beside its texts.
_ENTRY_BYTES, _PAGE_BYTES = 600, 64 << 10


def expression_blueprint(policy: str) -> Blueprint:
    """Make the routes, to mount below a dataset.

    Parameters
    ----------
    policy : str
        Content security policy of our own pages.
    """
    routes = Blueprint("expression", __name__)

    @routes.get("/expression")
    def page(dataset: str) -> Response:
        return _serve(dataset, _plan_page, "text/html")

    @routes.get("/expression.svg")
    def plot(dataset: str) -> Response:
        response = _serve(dataset, _plan_plot, _SVG)
        response.headers["Content-Disposition"] = attachment(dataset, "expression.svg", "inline")
        return response

    @routes.get("/expression.csv")
    def numbers(dataset: str) -> Response:
        response = _serve(dataset, _plan_csv, "text/csv")
        response.headers["Content-Disposition"] = attachment(dataset, "expression.csv")
        return response

    @routes.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        return response

    return routes


def _serve(dataset: str, plan: Callable[[Dataset], Planned], mimetype: str) -> Response:
    """Answer with the title of the dataset's description, which may change without its files."""
    services = current_services()
    return services.serve(dataset, plan, mimetype, services.descriptions.of(dataset).version.encode())


def _plan_page(opened: Dataset) -> Planned:
    by, names = _asked_column(opened), _asked_genes()
    table = read_table(opened, names, by) if by is not None and names else None
    return Planned(_size(table), lambda: Answer(_page(opened, names, by, table).encode("utf-8", "replace"), _HTML))


def _plan_plot(opened: Dataset) -> Planned:
    table, title = _asked_table(opened), shown_title(opened)
    return Planned(_size(table), lambda: Answer(dot_plot(table, title).encode("utf-8", "replace"), _SVG))


def _plan_csv(opened: Dataset) -> Planned:
    table = _asked_table(opened)
    notes: dict[str, Cell] = {**origin(opened), "column": table.by, "method": _METHOD}
    if table.missing:
        notes["not in the dataset"] = ", ".join(table.missing)
    if table.repeated:
        notes["first of several genes of that name"] = ", ".join(table.repeated)
    if table.unlabelled:
        notes["cells without a label, left out"] = table.unlabelled
    return Planned(_size(table), lambda: Answer(write_table(notes, _HEADER, table.rows()), CSV))


def _asked_genes() -> list[str]:
    return [name for text in request.args.getlist("genes") for name in split_names(text)]


def _asked_column(opened: Dataset) -> str | None:
    """Return the column that the request names, else the one that pictures of the dataset are coloured by."""
    if request.args.get("by"):
        return request.args["by"]
    offered = label_columns(opened.obs, current_services().config.presentation.max_categories)
    usual = color_column(opened)
    return usual if usual in offered else next(iter(offered), None)


def _asked_table(opened: Dataset) -> Table:
    by = _asked_column(opened)
    if by is None:
        raise BadFilter("This dataset has no column of labels; name a column in 'by'.")
    table = read_table(opened, _asked_genes(), by)
    require_numbers(table)
    return table


def _size(table: Table | None) -> int:
    """Estimate the memory for writing a table as page, plot or CSV."""
    if table is None:
        return _PAGE_BYTES
    longest = max(map(len, (*table.labels, *table.genes, "")))
    return _PAGE_BYTES + (_ENTRY_BYTES + 4 * longest) * len(table.genes) * len(table.labels)


def _page(opened: Dataset, names: list[str], by: str | None, table: Table | None) -> str:
    columns = label_columns(opened.obs, current_services().config.presentation.max_categories)
    return render(
        "expression.html",
        root=relative_root(request.path),
        title=shorten(shown_title(opened), TITLE_MAX),
        genes=join_names(names),
        by=by,
        columns=columns if by is None or by in columns else [by, *columns],
        table=table,
        query=urlencode({"genes": join_names(names), "by": by or ""}),
        missing=[shorten(name, NAME_MAX) for name in table.missing] if table else [],
        heads=[shorten(gene, NAME_MAX) for gene in table.genes] if table else [],
        rows=_rows(table) if table else [],
    )


def _rows(table: Table) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return the lines of the page's table: label, cells, mean and fraction of each gene as text."""
    means, fractions = table.mean.T.tolist(), table.fraction.T.tolist()
    return [
        (
            shorten(label, NAME_MAX),
            cells,
            [(_number(mean), _percent(fraction)) for mean, fraction in zip(means[k], fractions[k], strict=True)],
        )
        for k, (label, cells) in enumerate(zip(table.labels, table.cells, strict=True))
    ]


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "–"


def _percent(fraction: float) -> str:
    return "<1 %" if 0 < fraction < 0.005 else f"{100 * fraction:.0f} %"
