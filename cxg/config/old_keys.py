"""Keys of other cellxgene files, and the answer to them.

Two groups. *Retired*: keys of the 2020 files that mean nothing here; they are accepted, with a
warning when they ask for something. *LaterLayout*: the `server.app` / `dataset` layout that came after
2020 and the one of single-cell-explorer; they are errors that name the key to use instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import yaml

from cxg.config.kinds import Kind, Number, String, Switch, Whole
from cxg.config.lists import Names

Path = tuple[str, ...]

_READ_ONLY = "annotations are always off: this server only reads"
_NO_WORKERS = "differential expression takes its threads from the CPUs by itself"
_AT_CONVERSION = "names are chosen when the CXG is made: cxg convert {option}"


@dataclass(frozen=True)
class Retired:
    """A key that is accepted and has no effect.

    Attributes
    ----------
    quiet : tuple of str
        Values, as written in YAML, that ask for nothing and need no warning.
    """

    kind: Kind
    quiet: tuple[str, ...]
    why: str

    def is_quiet(self, node: yaml.Node) -> bool:
        """Tell whether the value asks for nothing."""
        if isinstance(node, yaml.SequenceNode):
            return all(isinstance(item, yaml.ScalarNode) and item.value in self.quiet for item in node.value)
        return node.tag.endswith(":null") or node.value in self.quiet


_OFF = ("false", "no", "off", "False")

RETIRED: dict[str, Retired] = {
    "user_annotations.enable": Retired(Switch(), _OFF, _READ_ONLY),
    "user_annotations.type": Retired(String(), ("local_file_csv",), _READ_ONLY),
    "user_annotations.local_file_csv.directory": Retired(String(), (), _READ_ONLY),
    "user_annotations.local_file_csv.file": Retired(String(), (), _READ_ONLY),
    "user_annotations.ontology.enable": Retired(Switch(), _OFF, _READ_ONLY),
    "user_annotations.ontology.obo_location": Retired(String(), (), _READ_ONLY),
    "embeddings.enable_reembedding": Retired(
        Switch(), _OFF, "re-embedding is always off: embeddings are computed before conversion"
    ),
    "multi_dataset.allowed_matrix_types": Retired(
        Names("matrix types"), ("cxg",), "the server reads CXGs only; other kinds are never listed"
    ),
    "single_dataset.obs_names": Retired(String(), (), _AT_CONVERSION.format(option="--obs-names")),
    "single_dataset.var_names": Retired(String(), (), _AT_CONVERSION.format(option="--var-names")),
    "diffexp.alg_cxg.max_workers": Retired(Whole(1), ("64",), _NO_WORKERS),
    "diffexp.alg_cxg.cpu_multiplier": Retired(Number(0, above=True), ("4",), _NO_WORKERS),
    "diffexp.alg_cxg.target_workunit": Retired(Whole(1), ("16_000_000", "16000000"), _NO_WORKERS),
    "adaptor.anndata_adaptor.backed": Retired(
        Switch(), _OFF, "h5ad files are not served; cxg convert always reads them piece by piece"
    ),
}

# Settings of TileDB versions before 2.1 or so, which the present one does not know. The 2020 default file has two.
RETIRED_TILEDB = frozenset(
    {
        "sm.tile_cache_size",
        "sm.array_schema_cache_size",
        "sm.fragment_metadata_cache_size",
        "sm.num_reader_threads",
        "sm.num_writer_threads",
        "sm.num_async_threads",
        "sm.num_tbb_threads",
        "vfs.num_threads",
        "vfs.file.max_parallel_ops",
    }
)


def is_retired_section(path: Path) -> bool:
    """Tell whether the section holds nothing but retired keys."""
    prefix = ".".join(path) + "."
    return any(key.startswith(prefix) for key in RETIRED)


@dataclass(frozen=True)
class LaterLayout:
    """Answer to a key of a later layout: the key to use, or why there is none."""

    key: str | None
    why: str = ""


_NO_LOGIN = "this server has no login; a plugin may check identity"
_SERVER_SECTIONS = ("multi_dataset", "single_dataset", "diffexp", "data_locator", "adaptor", "limits")
_GONE: dict[Path, str] = {
    ("server", "app", "api_base_url"): "the client finds its server by itself, also behind a proxy",
    ("server", "app", "web_base_url"): "the client finds its server by itself, also behind a proxy",
    ("server", "authentication"): _NO_LOGIN,
    ("server", "gene_info"): "there is no gene information service here",
    ("server", "data_locator", "api_base"): "datasets are found in the dataroot alone",
    ("dataset", "app", "authentication_enable"): _NO_LOGIN,
    ("dataset", "user_annotations"): _READ_ONLY,
    ("dataset", "X_approximate_distribution"): "it is found from each dataset's own values",
    ("per_dataset_config",): "one configuration holds for all datasets; run one server for each dataroot",
    ("external", "environment"): "environment variables have fixed names here: see docs/config.md",
    ("external", "aws_secrets_manager"): "set the environment variable CXG_AWS_SECRET_NAME",
}
_RENAMED: dict[Path, str] = {
    ("server", "data_locator", "s3_region_name"): "data_locator.s3.region_name",
    ("dataset", "diffexp", "count"): "diffexp.top_n",
}


def later_layout(path: Path, is_key: Callable[[Path], bool]) -> LaterLayout | None:
    """Find what to write in place of a key of a later layout.

    Parameters
    ----------
    path : Path
        The key as found.
    is_key : callable
        Tells whether a path is a key of this configuration (not a section).

    Returns
    -------
    None when the path belongs to no later layout, or is a section that has to be looked into.
    """
    path = ("dataset", *path[1:]) if path[0] == "default_dataset" else path
    for length in range(len(path), 0, -1):
        if path[:length] in _GONE:
            return LaterLayout(None, _GONE[path[:length]])
    if path in _RENAMED:
        return LaterLayout(_RENAMED[path])
    candidate = _candidate(path)
    name = ".".join(candidate)
    if name in RETIRED:
        return LaterLayout(None, RETIRED[name].why)
    return LaterLayout(name) if candidate and is_key(candidate) else None


def is_later_section(path: Path) -> bool:
    """Tell whether a section belongs to a later layout."""
    if path[0] in {"dataset", "default_dataset", "per_dataset_config", "external"}:
        return True
    return path[0] == "server" and path[1:2] in [("app",), ("authentication",), ("gene_info",)] + [
        (one,) for one in _SERVER_SECTIONS
    ]


def _candidate(path: Path) -> Path:
    """Find the place of a later key in this layout, whether or not it exists there."""
    if path[:2] in {("server", "app"), ("dataset", "app")}:
        return ("server", *path[2:])
    if path[0] == "server" and path[1:2] and path[1] in _SERVER_SECTIONS:
        return path[1:]
    return path[1:] if path[0] == "dataset" else ()
