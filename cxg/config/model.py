"""Every configuration key: its type, its default and its meaning, each written once.

The dataclasses carry the YAML's own dotted paths (`config.multi_dataset.matrix_cache.max_datasets`).
The default file and docs/config.md are rendered from the metadata here. Sections and keys are those
of the cellxgene servers of 2020, so that a file written for them is understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cxg.config import checks
from cxg.config.fields import key
from cxg.config.kinds import Number, String, Switch, SwitchOrString, Whole
from cxg.config.lists import Directives, Names, Script, Scripts, Settings
from cxg.config.pages import Presentation, Site, Visit
from cxg.config.visitors import Access


@dataclass(frozen=True)
class Server:
    """`server`: the process and its pages."""

    verbose: bool = key(False, Switch(), "Log each request and more about what the server does.")
    debug: bool = key(
        False,
        Switch(),
        "Log everything. Never changes what a visitor is shown. For development, not for a public site.",
    )
    host: str = key(
        "127.0.0.1",
        String("a host name or address", checks.check_host, null=False),
        "Address to listen on. 127.0.0.1 is this machine alone, 0.0.0.0 every network it is in.",
    )
    port: int = key(5005, Whole(1, 65535, null=True, null_value=5005), "Port to listen on. Null means the default.")
    scripts: tuple[Script, ...] = key(
        (),
        Scripts(checks.check_link),
        "Scripts to add to each dataset's page, by URL, or as entries with the keys src, integrity and crossorigin. "
        "Their hosts are allowed in the content security policy.",
    )
    inline_scripts: tuple[str, ...] = key(
        (),
        Names("file names", checks.check_file_name),
        "Scripts to put into each dataset's page itself: names of files in customize/inline_scripts. "
        "Their hashes are added to the content security policy.",
    )
    open_browser: bool = key(False, Switch(), "Open a web browser when the server has started (`cxg launch` only).")
    about_legal_tos: str | None = key(
        None,
        String("a link", checks.check_link),
        "Terms of service, linked in the menu: a URL, or a path here such as /static/cellxgene/deploy/tos.html.",
    )
    about_legal_privacy: str | None = key(
        None,
        String("a link", checks.check_link),
        "Privacy policy, linked in the menu: a URL, or a path here such as /static/cellxgene/deploy/privacy.html.",
    )
    force_https: bool = key(
        False,
        Switch(),
        "Redirect plain http to https and tell browsers to stay with https. Behind a proxy that ends TLS, the proxy "
        "must send X-Forwarded-Proto.",
    )
    trusted_proxies: tuple[str, ...] = key(
        (),
        Names("addresses and networks", checks.check_network),
        "Proxies in front whose X-Forwarded-For is believed, such as [127.0.0.1, 172.16.0.0/12]; of several in a row, "
        "all. Visitors are told apart by their address, so that each gets a fair share of long reads. Empty: the "
        "address of the connection counts, which behind a proxy is one for all.",
    )
    flask_secret_key: str | None = key(
        None,
        String("a text", secret=True),
        "Key that signs the links of cxg share (32 characters or more), and sessions of plugins. Better kept out of "
        "the file: set CXG_SECRET_KEY or CXG_AWS_SECRET_NAME, which win over this key.",
    )
    generate_cache_control_headers: bool = key(
        True,
        Switch(),
        "Let browsers and proxies keep data answers. They carry an ETag tied to the dataset's files, so a replaced "
        "dataset is noticed. False sends no-store with every answer.",
    )
    server_timing_headers: bool = key(
        False, Switch(), "Send a Server-Timing header, which a browser's network panel shows."
    )
    embed_origins: tuple[str, ...] = key(
        (),
        Names("origins such as https://portal.example", checks.check_origin),
        "Other sites whose pages may show this one in a frame (`?embed=1` shows a plot alone) and read its data with "
        "scripts. Empty: none.",
    )
    csp_directives: Mapping[str, tuple[str, ...]] = key(
        {},
        Directives(),
        "Sources to add to the content security policy, by directive, as in `connect-src: [https://example.org]`. "
        "Keywords need their own single quotes inside the text: \"'unsafe-inline'\".",
    )


@dataclass(frozen=True)
class MatrixCache:
    """`multi_dataset.matrix_cache`: datasets held open."""

    max_datasets: int = key(
        50,
        Whole(1),
        "Most datasets held open at a time, in each worker process. The one unused for longest is closed first; one "
        "that is answering a request never is.",
    )
    timelimit_s: float | None = key(
        1800,
        Number(0, above=True, null=True),
        "Seconds after which a dataset nobody asks for is closed, when the next one is opened. Null: never.",
    )


@dataclass(frozen=True)
class MultiDataset:
    """`multi_dataset`: a folder of datasets, each at its own path."""

    dataroot: str | None = key(
        None,
        String("a path, an s3:// URI or a lustre:// URI", checks.check_dataroot),
        "Folder that holds the datasets: a path, s3://bucket/prefix, or lustre://<dns name>@tcp:/<mountname>. Every "
        "CXG directly inside it is served. Not together with single_dataset.datapath.",
    )
    base_url: str = key(
        "d",
        String("a path such as d", checks.check_base_url, null=False, clean=lambda text: text.strip("/")),
        "Path in front of the datasets: with d, a dataset is at /d/<dataset>/. It may have parts, as in site/data.",
    )
    index: bool | str = key(
        True,
        SwitchOrString("a URL", checks.check_link),
        "The start page /. True: a list of the datasets. False or null: 404. A URL, or a path here: a redirect to it. "
        "(The servers of 2020 had false as default; their files, which name the key, keep their meaning.)",
    )
    matrix_cache: MatrixCache = field(default_factory=MatrixCache)


@dataclass(frozen=True)
class SingleDataset:
    """`single_dataset`: one dataset, at /."""

    datapath: str | None = key(
        None,
        String("a path, an s3:// URI or a lustre:// URI", checks.check_datapath),
        "The CXG to serve at /: a path or s3://bucket/prefix/name.cxg. Not together with multi_dataset.dataroot.",
    )
    title: str | None = key(None, String(), "Title to show in place of the one stored in the CXG.")
    about: str | None = key(
        None, String("a link", checks.check_link), "Link about the dataset, in place of the one stored in the CXG."
    )


@dataclass(frozen=True)
class Embeddings:
    """`embeddings`: which embeddings are offered."""

    names: tuple[str, ...] = key(
        (),
        Names("embedding names"),
        "Embeddings to offer, the default one first, for example [umap, tsne]. Names a dataset lacks are passed over. "
        "Empty: all that a dataset has.",
    )


@dataclass(frozen=True)
class Diffexp:
    """`diffexp`: differential expression between two sets of cells."""

    enable: bool = key(True, Switch(), "Offer differential expression.")
    lfc_cutoff: float = key(
        0.01, Number(0), "Genes whose log fold change is smaller than this, in either direction, are left out."
    )
    top_n: int = key(
        10, Whole(1), "Genes given in each direction when a request does not say how many. The web client says 50."
    )


@dataclass(frozen=True)
class S3Locator:
    """`data_locator.s3`: how S3 is reached."""

    region_name: bool | str = key(
        True,
        SwitchOrString("a region name", checks.check_region),
        "Region of the bucket. True: found from the bucket. False or null: left to the environment. Or its name, such "
        "as us-east-1.",
    )
    no_sign_request: bool = key(
        False, Switch(), "Read without credentials, from a public bucket. Saves looking for them."
    )
    endpoint_url: str | None = key(
        None,
        String("a URL", checks.check_url),
        "Address of an S3-compatible store that is not AWS, such as http://minio:9000.",
    )


@dataclass(frozen=True)
class DataLocator:
    """`data_locator`: how storage is reached."""

    s3: S3Locator = field(default_factory=S3Locator)


@dataclass(frozen=True)
class CxgAdaptor:
    """`adaptor.cxg_adaptor`: how CXGs are read."""

    tiledb_ctx: Mapping[str, str] = key(
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

    column_request_max: int | None = key(
        32, Whole(1, null=True), "Most columns (genes, annotations, embeddings) in one request. Null: no limit."
    )
    diffexp_cellcount_max: int | None = key(
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
    access: Access = field(default_factory=Access, metadata={"doc": "Who may see which dataset; see access.md."})
    visit: Visit = field(default_factory=Visit, metadata={"doc": "What this server adds to the web client's page."})
