"""Every configuration key: its type, its default and its meaning, each written once.

The dataclasses carry the YAML's own dotted paths (`config.multi_dataset.matrix_cache.max_datasets`).
The default file and docs/config.md are rendered from the metadata here. Sections and keys are those
of the cellxgene servers of 2020, so that a file written for them is understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cxg.config import checks
from cxg.config.kinds import Kind, Number, Switch, SwitchOrText, Text, Whole
from cxg.config.lists import Directives, Names, Script, Scripts, Settings


def _key(default: object, kind: Kind, doc: str) -> Any:
    """Make the field of a dataclass for one key of the file."""
    # A repr shows no secrets, access keys or passwords of an address.
    secret = isinstance(kind, Text) and (kind.secret or kind.check is checks.check_url)
    shown = not secret and not isinstance(kind, Settings)
    metadata = {"kind": kind, "doc": doc}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata, repr=shown)
    return field(default=default, metadata=metadata, repr=shown)


@dataclass(frozen=True)
class Server:
    """`server`: the process and its pages."""

    verbose: bool = _key(False, Switch(), "Log each request and more about what the server does.")
    debug: bool = _key(
        False,
        Switch(),
        "Log everything. Never changes what a visitor is shown. For development, not for a public site.",
    )
    host: str = _key(
        "127.0.0.1",
        Text("a host name or address", checks.check_host, null=False),
        "Address to listen on. 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in.",
    )
    port: int = _key(5005, Whole(1, 65535, null=True, null_value=5005), "Port to listen on. Null means the default.")
    scripts: tuple[Script, ...] = _key(
        (),
        Scripts(checks.check_link),
        "Scripts to add to each dataset's page, by URL, or as entries with the keys src, integrity and crossorigin. "
        "Their hosts are allowed in the content security policy.",
    )
    inline_scripts: tuple[str, ...] = _key(
        (),
        Names("file names", checks.check_file_name),
        "Scripts to put into each dataset's page itself: names of files in customize/inline_scripts. "
        "Their hashes are added to the content security policy.",
    )
    open_browser: bool = _key(False, Switch(), "Open a web browser when the server has started (`cxg launch` only).")
    about_legal_tos: str | None = _key(
        None,
        Text("a link", checks.check_link),
        "Terms of service, linked in the menu: a URL, or a path here such as /static/cellxgene/deploy/tos.html.",
    )
    about_legal_privacy: str | None = _key(
        None,
        Text("a link", checks.check_link),
        "Privacy policy, linked in the menu: a URL, or a path here such as /static/cellxgene/deploy/privacy.html.",
    )
    force_https: bool = _key(
        False,
        Switch(),
        "Redirect plain http to https and tell browsers to stay with https. Behind a proxy that ends TLS, the proxy "
        "must send X-Forwarded-Proto.",
    )
    trusted_proxies: tuple[str, ...] = _key(
        (),
        Names("addresses and networks", checks.check_network),
        "Proxies in front whose X-Forwarded-For is believed, such as [127.0.0.1, 172.16.0.0/12]; of several in a row, "
        "all. Visitors are told apart by their address, so that each gets a fair share of long reads. Empty: the "
        "address of the connection counts, which behind a proxy is one for all.",
    )
    flask_secret_key: str | None = _key(
        None,
        Text("a text", secret=True),
        "Key that signs session cookies. This server sets none; a plugin may. Better kept out of the file: set "
        "CXG_SECRET_KEY or CXG_AWS_SECRET_NAME, which win over this key.",
    )
    generate_cache_control_headers: bool = _key(
        True,
        Switch(),
        "Let browsers and proxies keep data answers. They carry an ETag tied to the dataset's files, so a replaced "
        "dataset is noticed. False sends no-store with every answer.",
    )
    server_timing_headers: bool = _key(
        False, Switch(), "Send a Server-Timing header, which a browser's network panel shows."
    )
    embed_origins: tuple[str, ...] = _key(
        (),
        Names("origins such as https://portal.example", checks.check_origin),
        "Other sites whose pages may show this one in a frame (`?embed=1` shows a plot alone) and read its data with "
        "scripts. Empty: none.",
    )
    csp_directives: Mapping[str, tuple[str, ...]] = _key(
        {},
        Directives(),
        "Sources to add to the content security policy, by directive, as in `connect-src: [https://example.org]`. "
        "Keywords need their own single quotes inside the text: \"'unsafe-inline'\".",
    )


@dataclass(frozen=True)
class Presentation:
    """`presentation`: how the web client shows a dataset."""

    max_categories: int = _key(
        1000,
        Whole(1),
        "Most labels shown for one categorical column; the rarest beyond it are put together as one.",
    )
    custom_colors: bool = _key(True, Switch(), "Use the category colors stored in a dataset.")


@dataclass(frozen=True)
class Visit:
    """`visit`: what this server adds to the web client's page."""

    links: bool = _key(
        True,
        Switch(),
        "Let the address of a dataset's page carry what the visitor sees, and offer a button that copies it.",
    )
    take_away: bool = _key(
        True, Switch(), "Offer buttons that save the picture, the selected cells and the table of a comparison."
    )
    messages: bool = _key(
        True, Switch(), "Show the server's own sentence when a request fails, in place of the web client's message."
    )


@dataclass(frozen=True)
class MatrixCache:
    """`multi_dataset.matrix_cache`: datasets held open."""

    max_datasets: int = _key(
        50,
        Whole(1),
        "Most datasets held open at a time, in each worker process. The one unused for longest is closed first; one "
        "that is answering a request never is.",
    )
    timelimit_s: float | None = _key(
        1800,
        Number(0, above=True, null=True),
        "Seconds after which a dataset nobody asks for is closed, when the next one is opened. Null: never.",
    )


@dataclass(frozen=True)
class MultiDataset:
    """`multi_dataset`: a folder of datasets, each at its own path."""

    dataroot: str | None = _key(
        None,
        Text("a path, an s3:// URI or a lustre:// URI", checks.check_dataroot),
        "Folder that holds the datasets: a path, s3://bucket/prefix, or lustre://<dns name>@tcp:/<mountname>. Every "
        "CXG directly inside it is served. Not together with single_dataset.datapath.",
    )
    base_url: str = _key(
        "d",
        Text("a path such as d", checks.check_base_url, null=False, clean=lambda text: text.strip("/")),
        "Path in front of the datasets: with d, a dataset is at /d/<dataset>/. It may have parts, as in site/data.",
    )
    index: bool | str = _key(
        True,
        SwitchOrText("a URL", checks.check_link),
        "The start page /. True: a list of the datasets. False or null: 404. A URL, or a path here: a redirect to it. "
        "(The servers of 2020 had false as default; their files, which name the key, keep their meaning.)",
    )
    matrix_cache: MatrixCache = field(default_factory=MatrixCache)


@dataclass(frozen=True)
class Site:
    """`site`: what the list of datasets says of the site, and its public address."""

    title: str | None = _key(None, Text(), "Title of the start page, in place of Datasets.")
    intro: str | None = _key(
        None, Text("a text"), "Text below the title, in Markdown. HTML and images in it are not rendered."
    )
    logo: str | None = _key(
        None,
        Text("a file name", checks.check_file_name),
        "Picture beside the title: the name of a file in customize/deploy.",
    )
    url: str | None = _key(
        None,
        Text("a URL", checks.check_public_url, clean=lambda text: text.rstrip("/") + "/"),
        "Public address of the start page, such as https://cells.example.org/. Search engines get it, with "
        "/sitemap.xml; nothing else depends on it. Without it, no page names a canonical address.",
    )


@dataclass(frozen=True)
class SingleDataset:
    """`single_dataset`: one dataset, at /."""

    datapath: str | None = _key(
        None,
        Text("a path, an s3:// URI or a lustre:// URI", checks.check_datapath),
        "The CXG to serve at /: a path or s3://bucket/prefix/name.cxg. Not together with multi_dataset.dataroot.",
    )
    title: str | None = _key(None, Text(), "Title to show in place of the one stored in the CXG.")
    about: str | None = _key(
        None, Text("a link", checks.check_link), "Link about the dataset, in place of the one stored in the CXG."
    )


@dataclass(frozen=True)
class Embeddings:
    """`embeddings`: which embeddings are offered."""

    names: tuple[str, ...] = _key(
        (),
        Names("embedding names"),
        "Embeddings to offer, the default one first, for example [umap, tsne]. Names a dataset lacks are passed over. "
        "Empty: all that a dataset has.",
    )


@dataclass(frozen=True)
class Diffexp:
    """`diffexp`: differential expression between two sets of cells."""

    enable: bool = _key(True, Switch(), "Offer differential expression.")
    lfc_cutoff: float = _key(
        0.01, Number(0), "Genes whose log fold change is smaller than this, in either direction, are left out."
    )
    top_n: int = _key(
        10, Whole(1), "Genes given in each direction when a request does not say how many. The web client says 50."
    )


@dataclass(frozen=True)
class S3Locator:
    """`data_locator.s3`: how S3 is reached."""

    region_name: bool | str = _key(
        True,
        SwitchOrText("a region name", checks.check_region),
        "Region of the bucket. True: found from the bucket. False or null: left to the environment. Or its name, such "
        "as us-east-1.",
    )
    no_sign_request: bool = _key(
        False, Switch(), "Read without credentials, from a public bucket. Saves looking for them."
    )
    endpoint_url: str | None = _key(
        None,
        Text("a URL", checks.check_url),
        "Address of an S3-compatible store that is not AWS, such as http://minio:9000.",
    )


@dataclass(frozen=True)
class DataLocator:
    """`data_locator`: how storage is reached."""

    s3: S3Locator = field(default_factory=S3Locator)


@dataclass(frozen=True)
class CxgAdaptor:
    """`adaptor.cxg_adaptor`: how CXGs are read."""

    tiledb_ctx: Mapping[str, str] = _key(
        {},
        Settings(),
        "TileDB settings by name, for example `vfs.s3.max_parallel_ops: 16`. They win over what the server sets.",
    )


@dataclass(frozen=True)
class Adaptor:
    """`adaptor`: how datasets are read."""

    cxg_adaptor: CxgAdaptor = field(default_factory=CxgAdaptor)


@dataclass(frozen=True)
class Limits:
    """`limits`: what one request may ask for."""

    column_request_max: int | None = _key(
        32, Whole(1, null=True), "Most columns (genes, annotations, embeddings) in one request. Null: no limit."
    )
    diffexp_cellcount_max: int | None = _key(
        None, Whole(1, null=True), "Most cells, both sets together, in one differential expression. Null: no limit."
    )


@dataclass(frozen=True)
class Config:
    """The whole configuration."""

    server: Server = field(default_factory=Server, metadata={"doc": "The process and its pages."})
    presentation: Presentation = field(
        default_factory=Presentation, metadata={"doc": "How the web client shows a dataset."}
    )
    multi_dataset: MultiDataset = field(
        default_factory=MultiDataset, metadata={"doc": "A folder of datasets, each at its own path."}
    )
    site: Site = field(
        default_factory=Site, metadata={"doc": "What the start page says of the site, and its public address."}
    )
    single_dataset: SingleDataset = field(default_factory=SingleDataset, metadata={"doc": "One dataset, at /."})
    embeddings: Embeddings = field(default_factory=Embeddings, metadata={"doc": "Which embeddings are offered."})
    diffexp: Diffexp = field(
        default_factory=Diffexp, metadata={"doc": "Differential expression between two sets of cells."}
    )
    data_locator: DataLocator = field(default_factory=DataLocator, metadata={"doc": "How storage is reached."})
    adaptor: Adaptor = field(default_factory=Adaptor, metadata={"doc": "How datasets are read."})
    limits: Limits = field(default_factory=Limits, metadata={"doc": "What one request may ask for."})
    visit: Visit = field(default_factory=Visit, metadata={"doc": "What this server adds to the web client's page."})
