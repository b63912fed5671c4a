"""Every file of a CXG, lost, emptied or cut short: `cxg inspect` says so, or no answer of the server changes."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxg import config
from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.format.inspection.inspect import inspect_dataset
from cxg.storage.storage import Storage
from cxg.web.app import create_app
from tests.cxgs import build
from tests.served import stand_in_client

KINDS = {
    "Xr-Xc": {"kind": "Xr/Xc", "totals": True, "genesets": True, "uns": "{}", "embeddings": ("umap",)},
    "dense": {"kind": "0.3.0-dense", "totals": True, "genesets": True},
    "sparse": {"kind": "0.3.0-sparse", "genesets": True},
    "shift": {"kind": "0.2.0-shift", "genesets": True},
    "two-generations": {"kind": "Xr/Xc", "generations": 2, "embeddings": ("umap",)},
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "lost": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut short": cut,
}
DATA_ROUTES = (
    *("schema", "config", "colors", "genesets", "layout/obs"),
    *("annotations/obs", "annotations/var", "data/var?var:name_0=gene1", "data/var?var:name_0=gene7"),
    "summarize/var?method=mean&var:name_0=gene0&var:name_0=gene3",
)


def answers(dataroot: Path, client_dir: Path) -> Iterator[tuple[int, bytes]]:
    """What the server says to all that the web client asks."""
    settings = load("limits: {column_request_max: null}", {"CXG_DATAROOT": str(dataroot)}).config
    # Without decoded copies: they would be made in the background, of files that are damaged meanwhile.
    app = create_app(settings, stand_in_client(client_dir), runtime=Runtime.of({"CXG_CACHE_MB": "0"}))
    app.testing = False
    client = app.test_client()
    for route in DATA_ROUTES:
        response = client.get(f"/d/x.cxg/api/v0.2/{route}")
        yield response.status_code, response.data
    for second in ([[10, 19]], [[10, 29]]):
        sets = [{"filter": {"obs": {"index": index}}} for index in ([[0, 9]], second)]
        body = json.dumps({"mode": "topN", "count": 5, "set1": sets[0], "set2": sets[1]})
        response = client.post("/d/x.cxg/api/v0.2/diffexp/obs", data=body, content_type="application/json")
        yield response.status_code, response.data
    response = client.get("/d/x.cxg/thumbnail.png")
    yield response.status_code, response.data


def is_told(path: Path) -> bool:
    """Whether an inspection finds an error; a quick one finds most of them."""
    return not all(
        inspect_dataset(Storage(config.default()), str(path), "x.cxg", quick=quick).ok for quick in (True, False)
    )


CASES = [
    *(("Xr-Xc", what) for what in DAMAGE),
    *(("dense", what) for what in ("lost", "cut short")),
    *(("sparse", what) for what in ("lost", "cut short")),
    *((kind, "lost") for kind in ("shift", "two-generations")),
]


@pytest.mark.parametrize("kind,what", CASES)
def test_every_file(tmp_path: Path, kind: str, what: str) -> None:
    root = build(tmp_path / "data" / "x.cxg", n_obs=30, n_var=12, **KINDS[kind]).path
    assert not is_told(root)
    intact = list(answers(root.parent, tmp_path / "client"))
    assert {status for status, _ in intact} == {200}
    hidden, told = [], 0
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    for path in files:
        if what != "lost" and not path.stat().st_size:
            continue
        kept = tmp_path / "kept"
        shutil.copy2(path, kept)
        DAMAGE[what](path)
        if is_told(root):
            told += 1
        elif list(answers(root.parent, tmp_path / "client")) != intact:
            hidden.append(str(path.relative_to(root)))
        shutil.copy2(kept, path)
    assert hidden == []
    assert told > len(files) / 2
