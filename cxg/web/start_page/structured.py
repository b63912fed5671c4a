"""What machines read on a dataset's page: schema.org, citation managers, previews of links."""

from __future__ import annotations

import json
import re
from typing import Any

from cxg.compute.thumbnail import HEIGHT, WIDTH
from cxg.descriptions.model import Description
from cxg.links import link_problem
from cxg.web.start_page.summaries import DatasetSummary

_CREATIVE_COMMONS = re.compile(r"CC[- ](BY(?:-(?:NC|SA|ND))*)[- ](\d\.\d)(?: .*)?", re.IGNORECASE)
_ZERO = re.compile(r"CC[- ]?0(?:[- ]1\.0)?", re.IGNORECASE)
# schema.org wants 50 characters of a description, and no more than 5,000.
_DESCRIPTION_MIN = 50

Tags = tuple[tuple[str, str], ...]


def structured_data(listed: DatasetSummary, description: Description, text: str, address: str | None) -> str:
    """Write the dataset as JSON-LD (https://schema.org/Dataset), safe within a script element.

    Parameters
    ----------
    listed : DatasetSummary
    description : Description
    text : str
        Its text in plain words.
    address : str or None
        Public address of the dataset; without it, the data names no address of this server.
    """
    size = f"{listed.n_obs:,} cells × {listed.n_var:,} genes."
    value: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": listed.title,
        "description": text if len(text) >= _DESCRIPTION_MIN else f"{text} Single-cell expression data, {size}".strip(),
        "url": None if address is None else f"{address}about",
        "identifier": None if description.doi is None else f"https://doi.org/{description.doi}",
        "creator": [{"@type": "Person", "name": name} for name in description.authors],
        "datePublished": description.date,
        "license": license_link(description.license) or description.license,
        "citation": description.citation,
        "keywords": [*description.organism, *description.tissue, *description.disease, *description.tags],
        "measurementTechnique": list(description.assay),
        "variableMeasured": "gene expression",
        "isAccessibleForFree": True,
        "image": None if address is None or listed.embedding is None else f"{address}thumbnail.png",
    }
    if description.download is not None:
        value["distribution"] = [{"@type": "DataDownload", "contentUrl": description.download}]
    if description.collection is not None:
        value["isPartOf"] = {"@type": "Collection", "name": description.collection}
    given = {key: one for key, one in value.items() if one not in (None, [], "")}
    text = json.dumps(given, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def citation_tags(title: str, description: Description, address: str | None) -> Tags:
    """Return the tags that citation managers and scholarly search engines read; none where nobody is to be cited."""
    if not description.authors and not description.doi:
        return ()
    tags = [("citation_title", title), *(("citation_author", name) for name in description.authors)]
    if description.doi is not None:
        tags.append(("citation_doi", description.doi))
    if description.date is not None:
        tags.append(("citation_publication_date", description.date.replace("-", "/")))
    if address is not None:
        tags.append(("citation_abstract_html_url", f"{address}about"))
    return tuple(tags)


def preview_tags(listed: DatasetSummary, text: str, address: str | None) -> Tags:
    """Return the tags of https://ogp.me, from which other sites make the preview of a link."""
    tags = [("og:type", "website"), ("og:title", listed.title), ("og:description", text)]
    if address is not None:
        tags.append(("og:url", f"{address}about"))
        if listed.embedding is not None:
            tags += [("og:image", f"{address}thumbnail.png"), ("og:image:type", "image/png")]
            tags += [("og:image:width", str(WIDTH)), ("og:image:height", str(HEIGHT))]
    return tuple(tags)


def license_link(text: str | None) -> str | None:
    """Return the address of a licence: the link that it is, or that of a Creative Commons licence by its name."""
    if text is None:
        return None
    if link_problem(text) is None:
        return text
    if _ZERO.fullmatch(text):
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    found = _CREATIVE_COMMONS.fullmatch(text)
    return None if found is None else f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/"
