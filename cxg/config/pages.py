"""Sections of the configuration about what visitors see: `presentation`, `visit`, `site`."""

from __future__ import annotations

from dataclasses import dataclass

from cxg.config import checks
from cxg.config.fields import key
from cxg.config.kinds import String, Switch, Whole


@dataclass(frozen=True)
class Presentation:
    """`presentation`: how the web client shows a dataset."""

    max_categories: int = key(
        1000,
        Whole(1),
        "Most labels shown for one categorical column; the rarest beyond it are put together as one.",
    )
    custom_colors: bool = key(True, Switch(), "Use the category colors stored in a dataset.")


@dataclass(frozen=True)
class Visit:
    """`visit`: what this server adds to the web client's page."""

    links: bool = key(
        True,
        Switch(),
        "Let the address of a dataset's page carry what the visitor sees, and offer a button that copies it.",
    )
    take_away: bool = key(
        True,
        Switch(),
        "Offer buttons that save the picture, the selected cells and the table of a comparison, and the page of "
        "expression by label.",
    )
    markers: bool = key(
        True,
        Switch(),
        "Offer a button that lists the marker genes of the labels as gene sets, for datasets without gene sets.",
    )
    messages: bool = key(
        True, Switch(), "Show the server's own sentence when a request fails, in place of the web client's message."
    )


@dataclass(frozen=True)
class Site:
    """`site`: what the list of datasets says of the site, and its public address."""

    title: str | None = key(None, String(), "Title of the start page, in place of Datasets.")
    intro: str | None = key(
        None, String("a text"), "Text below the title, in Markdown. HTML and images in it are not rendered."
    )
    logo: str | None = key(
        None,
        String("a file name", checks.check_file_name),
        "Picture beside the title: the name of a file in customize/deploy.",
    )
    url: str | None = key(
        None,
        String("a URL", checks.check_public_url, clean=lambda text: text.rstrip("/") + "/"),
        "Public address of the start page, such as https://cells.example.org/. Search engines get it, with "
        "/sitemap.xml; nothing else depends on it. Without it, no page names a canonical address.",
    )
