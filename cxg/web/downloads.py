"""What the files that visitors take away have in common: their names, and what they say about their origin."""

from __future__ import annotations

import re
from urllib.parse import quote

from flask import request

from cxg import __version__
from cxg.format.dataset import Dataset
from cxg.web.answers.kept import JSON
from cxg.web.services import current_services

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
# Characters that file systems refuse, and those that cannot be seen.
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')


def prefers_csv() -> bool:
    """Tell whether the Accept header prefers CSV to JSON; every other one gets JSON, as from the published server."""
    return request.accept_mimetypes.best_match((JSON, "text/csv")) == "text/csv"


def shown_title(opened: Dataset) -> str:
    """Return the title that visitors see: of the configuration for a single dataset, of the description, or its own."""
    services = current_services()
    single = services.config.single_dataset
    described = services.descriptions.of(opened.name).description.title
    return (single.title if single.datapath else None) or described or opened.title or dataset_name(opened)


def dataset_name(opened: Dataset) -> str:
    """Return the dataset's name as in its address; that of its folder for a single dataset, which has none."""
    return opened.name or opened.uri.rstrip("/").rpartition("/")[2]


def origin(opened: Dataset) -> dict[str, str]:
    """Return the notes for the top of a file: which dataset, which version of it, which software."""
    return {
        "dataset": dataset_name(opened),
        "title": shown_title(opened),
        "version": opened.fingerprint,
        "software": f"cellxgene-eb {__version__}",
    }


def attachment(dataset: str, what: str, kind: str = "attachment") -> str:
    """Make the header Content-Disposition (RFC 6266) of a file about a dataset.

    Parameters
    ----------
    dataset : str
        Its name as in the address; empty for a single dataset.
    what : str
        Rest of the file's name, as in ``comparison.csv``.
    kind : {"attachment", "inline"}
        Whether browsers save the file or show it.
    """
    stem = dataset.removesuffix(".cxg")
    name = f"{stem}-{what}" if stem else what
    plain = _UNSAFE.sub("_", name).strip("._-")
    full = quote(_UNFIT.sub("_", name), safe="")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{full}"
