"""What a dataset declares is held against the memory plan before anything is allocated; a sound one is never "damaged"."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiledb
from flask.testing import FlaskClient

from cxg.cli.main import main
from cxg.compute import thumbnail
from cxg.config import default, load
from cxg.config.runtime import Runtime
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot
from cxg.errors import DatasetInvalid, DatasetTooLarge, StorageUnavailable
from cxg.format import sampling
from cxg.format.dataset import open_dataset
from cxg.memory import MemoryPlan, plan
from cxg.startup.first_look import FirstLook
from cxg.storage import storage
from cxg.storage.faults import translated
from cxg.storage.storage import Storage
from cxg.web.app import create_app
from cxg.web.start_page.reader import Summaries
from tests import cxgs
from tests.served import stand_in_client

# What a container of 1,500 MB has.
PLAN = plan(Runtime.of({"CXG_MEMORY_MB": "1500", "CXG_WORKERS": "2"}))


def declared(path: Path, n_obs: int = 5, n_var: int = 5) -> Path:
    """A CXG of a few kB that says it has so many cells and genes, of which a few were written."""
    tiledb.group_create(str(path))
    for name, n, dims in (("obs", n_obs, 1), ("var", n_var, 1), ("emb/umap", n_obs, 2)):
        if name.startswith("emb"):
            tiledb.group_create(str(path / "emb"))
        tile = min(n, 10_000)
        domain = [tiledb.Dim(name="d0", domain=(0, n - 1), tile=tile, dtype=np.uint64)]
        if dims == 2:
            domain.append(tiledb.Dim(name="d1", domain=(0, 1), tile=2, dtype=np.uint64))
        attrs = [tiledb.Attr(name="" if dims == 2 else "n", dtype=np.float32)]
        if dims == 1:
            attrs.append(tiledb.Attr(name="name_0", dtype="ascii", var=True))
        filters = tiledb.FilterList([tiledb.ZstdFilter()])
        attrs = [tiledb.Attr(name=a.name, dtype=a.dtype, var=a.isvar, filters=filters) for a in attrs]
        schema = tiledb.ArraySchema(domain=tiledb.Domain(*domain), attrs=attrs)
        tiledb.Array.create(str(path / name), schema)
        with tiledb.open(str(path / name), "w") as array:
            if dims == 2:
                array[0:5, 0:2] = np.zeros((5, 2), np.float32)
            else:
                array[0:5] = {"n": np.zeros(5, np.float32), "name_0": np.array(list("abcde"), "O")}
                array.meta["cxg_schema"] = json.dumps({"index": "name_0"})
    return path


def served(dataroot: Path, tmp_path: Path, plan: MemoryPlan = PLAN) -> FlaskClient:
    config = load("", {"CXG_DATAROOT": str(dataroot)}).config
    app = create_app(config, stand_in_client(tmp_path / "client"), plan=plan)
    app.testing = False
    return app.test_client()


def long_text(root: Path) -> None:
    with tiledb.open(str(root / "obs"), "w") as array:
        array.meta["cxg_schema"] = json.dumps({"index": "name_0", "n": {"type": "float32", "x": "y" * 60_000_000}})


LARGE: dict[str, Callable[[Path], object]] = {
    "300 million cells": lambda path: declared(path, n_obs=300_000_000),
    "10^13 cells": lambda path: declared(path, n_obs=10**13),
    "2^62 cells": lambda path: declared(path, n_obs=2**62),
    "10^9 genes": lambda path: declared(path, n_var=10**9),
    "60 MB of text about the columns": lambda path: long_text(declared(path)),
}
ROUTES = ("schema", "config", "colors", "genesets", "layout/obs", "annotations/obs", "annotations/var")


@pytest.mark.parametrize("what", LARGE)
def test_what_does_not_fit_is_told_everywhere_and_nothing_is_allocated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "data" / "big.cxg"
    path.parent.mkdir()
    LARGE[what](path)
    client = served(path.parent, tmp_path)
    for route in ROUTES:
        response = client.get(f"/d/big.cxg/api/v0.2/{route}")
        assert response.status_code == 507
        said = response.json["message"]
        assert "This dataset needs about " in said
        assert f"this server has {PLAN.dataset_mb:,} MB for one" in said
        assert "damaged" not in said
    assert client.get("/d/big.cxg/thumbnail.png").status_code == 507
    page = client.get("/d/big.cxg/")
    assert page.status_code == 507
    assert page.mimetype == "text/html"
    assert said in page.text
    assert said in client.get("/").text
    monkeypatch.setenv("CXG_MEMORY_MB", "1500")
    monkeypatch.setenv("CXG_WORKERS", "2")
    monkeypatch.setenv("CXG_DATAROOT", str(path.parent))
    look = FirstLook(load("", {"CXG_DATAROOT": str(path.parent)}).config, Runtime.of(os.environ))
    look.run(within_s=60)
    assert list(look.lines()) == [f"big.cxg: {said}"]
    capsys.readouterr()
    main(["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (checks["dataset big.cxg"]["status"], checks["dataset big.cxg"]["text"]) == ("failed", said)
    main(["inspect", "--json", "--quick", str(path)])
    findings = json.loads(capsys.readouterr().out)["findings"]
    # Labels that no server would take are an error wherever they are opened.
    (told,) = [finding for finding in findings if " MB of memory" in finding["text"]]
    assert told["level"] == ("error" if "text" in what else "warning")


def test_a_dataset_of_some_million_cells_is_served_on_the_usual_plan(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = declared(tmp_path / "data" / "x.cxg", n_obs=4_000_000)
    usual = plan(Runtime.of({"CXG_MEMORY_MB": "1000", "CXG_WORKERS": "2"}))
    assert usual.dataset_mb * 2 + (usual.worker_mb - usual.making_mb) * 2 <= 1000
    assert served(path.parent, tmp_path, usual).get("/d/x.cxg/api/v0.2/schema").status_code == 200


@pytest.mark.parametrize("memory_mb", [300, 512, 1000, 1500, 4000, 64_000])
def test_the_largest_dataset_fits_into_what_there_is(memory_mb: int) -> None:
    found = plan(Runtime.of({"CXG_MEMORY_MB": str(memory_mb)}))
    others_mb = found.worker_mb - found.making_mb
    assert found.dataset_mb >= found.making_mb
    assert (found.dataset_mb + others_mb) * found.workers <= max(memory_mb, found.workers * found.worker_mb)


def test_the_list_says_it_on_the_card(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    declared(tmp_path / "data" / "big.cxg", n_obs=10**9)
    own = Storage(default(), dataset_mb=200)
    catalog = Catalog(own, Dataroot(own, str(tmp_path / "data")), 5)
    (summary,) = Summaries(catalog).read(wait_s=60).known
    assert summary.problem is not None
    assert "This dataset needs about" in summary.problem


def test_without_a_plan_any_size_is_opened(tmp_path: Path) -> None:
    path = declared(tmp_path / "x.cxg", n_obs=10**9)
    open_dataset(Storage(default()), str(path), "x").close()
    with pytest.raises(DatasetTooLarge):
        open_dataset(Storage(default(), dataset_mb=100), str(path), "x")


ALLOCATIONS = [
    "std::bad_alloc",
    "[TileDB::Tile] Error: Cannot allocate buffer",
    "MemoryError: Unable to allocate 72.8 TiB for an array with shape (10000000000000,) and data type float64",
    "Failed to allocate memory",
    "vector::_M_default_append",
    "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size.",
]


@pytest.mark.parametrize("text", ALLOCATIONS)
@pytest.mark.parametrize("kind", [tiledb.TileDBError, OSError, MemoryError])
def test_a_failed_allocation_is_never_told_as_damage(kind: type[Exception], text: str) -> None:
    sentence = r"^There is not enough memory to read column 'a' now; try again soon\.$"
    with pytest.raises(StorageUnavailable, match=sentence), translated("column 'a'"):
        raise kind(text)


def test_what_is_really_too_much_to_allocate_is_no_damage(tmp_path: Path) -> None:
    dataset = open_dataset(Storage(default()), str(declared(tmp_path / "x.cxg", n_obs=10**13)), "x")
    for read in (lambda: dataset.read_embedding("umap"), lambda: dataset.read_column("obs", "n")):
        with pytest.raises(StorageUnavailable, match="not enough memory"):
            read()
    dataset.close()


def test_a_failed_allocation_outside_of_reading_is_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxg.web.routes import data

    def fail(*_: object) -> None:
        raise MemoryError

    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5)
    monkeypatch.setattr(data, "encode_matrix", fail)
    response = served(tmp_path / "data", tmp_path).get("/d/a.cxg/api/v0.2/layout/obs")
    assert response.status_code == 503
    assert "not enough memory" in response.json["message"]
    assert "Retry-After" in response.headers


def test_a_sample_of_an_embedding_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = cxgs.build(tmp_path / "x.cxg", n_obs=30)
    dataset = open_dataset(Storage(default()), str(truth.path), "x")
    cells = thumbnail.sample_cells(30, 11)
    whole = dataset.read_embedding("umap")[cells]
    spans: list[tuple[int, int]] = []
    read = dataset.stored_embedding

    def watched(name: str, first: int, last: int) -> object:
        spans.append((first, last))
        return read(name, first, last)

    monkeypatch.setattr(dataset, "stored_embedding", watched)
    np.testing.assert_array_equal(sampling.sample_embedding(dataset, "umap", cells, 7), whole)
    assert max(last - first + 1 for first, last in spans) == 7
    assert sampling.sample_embedding(dataset, "umap", cells[:0], 7).shape == (0, 2)
    dataset.close()


@pytest.mark.parametrize("room", [True, False])
def test_an_array_cut_short_is_told_from_a_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise tiledb.TileDBError("[TileDB::Array] Error: std::bad_alloc")

    storage_of = Storage(default())
    monkeypatch.setattr(tiledb, "open", fail)
    monkeypatch.setattr(storage, "has_room", lambda: room)
    expected, said = (DatasetInvalid, "Obs cannot be read") if room else (StorageUnavailable, "not enough memory")
    with pytest.raises(expected, match=said):
        storage_of.open_array(str(tmp_path), storage_of.column_ctx, "obs")
