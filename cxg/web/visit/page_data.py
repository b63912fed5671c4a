"""What the modules of the visit know of a dataset: a block of JSON in the client's page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cxg.config import Config, SingleDataset
from cxg.descriptions.model import NOTHING_SAID, Description
from cxg.format.dataset import Dataset

BLOCK_ID = "cxg-visit"
_ROOT = b'<div id="root"></div>'


def page_data(
    opened: Dataset, config: Config, client_version: str | None, description: Description = NOTHING_SAID
) -> dict[str, Any]:
    """Collect what the modules need to know before they ask the API.

    Parameters
    ----------
    opened : Dataset
    config : Config
    client_version : str or None
        None for a build of the client that the modules do not know.
    description : Description
        What the file beside the dataset says.

    Returns
    -------
    dict
        `dataset` (name in the URL), `title`, `version` (of its files), `client`, `view` (the default view, with the
        names of a link's parameters), `about` (relative address of the dataset's page, or None) and `features`
        (switches of the configuration).
    """
    single = config.single_dataset if config.single_dataset.datapath else SingleDataset()
    visit = config.visit
    return {
        "dataset": opened.name,
        "title": single.title or description.title or opened.title,
        "version": opened.fingerprint,
        "client": client_version,
        "view": {name: list(values) for name, values in description.view.items()},
        # A server of one dataset has no such page.
        "about": None if config.single_dataset.datapath else "about",
        "features": {"links": visit.links, "take_away": visit.take_away, "messages": visit.messages},
    }


def with_data(page: bytes, data: Mapping[str, Any]) -> bytes:
    """Put the data into the client's page, as a block that no browser runs."""
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    block = f'<script type="application/json" id="{BLOCK_ID}">{text}</script>'
    # Metadata may hold half a surrogate pair, which UTF-8 cannot.
    return page.replace(_ROOT, block.encode("utf-8", "replace") + _ROOT, 1)
