"""Files of an array that were cut short are told before TileDB, which they may crash, reads them."""

import os
import shutil
from pathlib import Path

import pytest
import tiledb

from cxg.config import default
from cxg.errors import DatasetInvalid
from cxg.format.dataset import open_dataset
from cxg.storage.cut_files import CutFile, DataFiles, LocalFolder, check_files
from cxg.storage.objects import Objects
from cxg.storage.storage import Storage
from tests import cxgs

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
ARRAYS = ("obs", "var", "Xr", "Xc", "X_totals", "emb/umap", "cxg_group_metadata")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return cxgs.build(tmp_path / "x.cxg", n_obs=30, n_var=12, totals=True, embeddings=("umap",)).path


def files_of(array: Path) -> list[Path]:
    return [path for path in sorted(array.rglob("*")) if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize("array", ARRAYS)
def test_whole_files_are_as_long_as_is_known_of_them(root: Path, array: str) -> None:
    least = check_files(LocalFolder(str(root / array)))
    written = {
        str(path): path.stat().st_size for path in (root / array).rglob("*.tdb") if path.parent.name[-3:] == "_22"
    }
    assert least == {path: size for path, size in written.items() if not path.endswith("__fragment_metadata.tdb")}


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_every_file_that_is_cut_short_is_told(root: Path, array: str, share: float) -> None:
    for path in files_of(root / array):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CutFile, match=path.name):
            check_all(root / array)
        path.write_bytes(content)
    check_all(root / array)


@pytest.mark.parametrize("array", ARRAYS)
def test_a_data_file_that_is_missing_is_told(root: Path, array: str) -> None:
    for path in [path for path in files_of(root / array) if path.name[0] in "ad"]:
        path.rename(root / "aside")
        with pytest.raises(CutFile, match=path.name):
            check_all(root / array)
        (root / "aside").rename(path)


def check_all(array: Path) -> None:
    least = check_files(LocalFolder(str(array)))
    fields = {str(number): f"a{number}" for number in range(30)}
    DataFiles(fields, least).check(fields)


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("native", [True, False])
def test_objects_of_a_store_are_checked_alike(root: Path, array: str, native: bool, monkeypatch) -> None:
    if not native:
        monkeypatch.setattr("ctypes.CDLL", refuse)
    objects = Objects(tiledb.Ctx())
    uri = f"file://{root / array}"
    for path in sorted((root / array).rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()  # a store has no empty folders
    least = check_files(LocalFolder(str(root / array)))
    assert check_files(objects.folder(uri, 1000)) == {f"file://{path}": size for path, size in least.items()}
    for path in [path for path in files_of(root / array) if path.name[0] not in "ad"]:
        content = path.read_bytes()
        for share in (0.0, 0.5, 0.99):
            path.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(CutFile, match=path.name):
                check_files(objects.folder(uri, 1000))
        path.write_bytes(content)


def refuse(name: str) -> None:
    raise OSError(f"{name} cannot be loaded")


def test_zeros_at_the_end_are_no_footer(root: Path) -> None:
    for path in (root / "obs").rglob("__fragment_metadata.tdb"):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
        with pytest.raises(CutFile):
            check_files(LocalFolder(str(root / "obs")))


def test_a_fragment_that_was_never_completed_is_not_looked_at(root: Path) -> None:
    (fragment,) = (root / "obs" / "__fragments").iterdir()
    other = fragment.with_name(fragment.name.replace("__1", "__2", 1))
    shutil.copytree(fragment, other)
    (other / "__fragment_metadata.tdb").write_bytes(b"")
    check_files(LocalFolder(str(root / "obs")))
    (root / "obs" / "__commits" / f"{other.name}.wrt").touch()
    with pytest.raises(CutFile, match="__fragment_metadata"):
        check_files(LocalFolder(str(root / "obs")))


def test_files_about_an_array_are_told_as_damage(root: Path) -> None:
    for path in files_of(root / "obs" / "__schema"):
        os.truncate(path, 50)
    storage = Storage(default())
    with pytest.raises(DatasetInvalid, match="Obs cannot be read: missing or damaged"):
        storage.open_array(str(root / "obs"), storage.column_ctx, "obs")


@pytest.mark.parametrize("change", [lambda path: os.truncate(path, path.stat().st_size // 2), Path.unlink])
def test_a_file_cut_under_an_open_array_is_told_and_not_read(root: Path, change) -> None:
    dataset = open_dataset(Storage(default()), str(root), "x.cxg")
    try:
        dataset.read_embedding("umap")
        for path in (root / "emb" / "umap").rglob("a0.tdb"):
            change(path)
        with pytest.raises(DatasetInvalid, match="Embedding 'umap' cannot be read: missing or damaged"):
            dataset.read_embedding("umap")
        dataset.obs.read("name_0")
    finally:
        dataset.close()


def test_only_the_files_of_what_is_read_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a0.tdb").write_bytes(b"12")
    paths = {str(tmp_path / "a0.tdb"): 2, str(tmp_path / "a1.tdb"): 3}
    files = DataFiles({"x": "a0", "y": "a1"}, paths)
    files.check(["x", "unknown"])
    with pytest.raises(CutFile):
        files.check(["x", "y"])
    sparse = DataFiles({"x": "a0"}, paths | {str(tmp_path / "d0.tdb"): 1})
    with pytest.raises(CutFile, match="d0"):
        sparse.check(["x"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real datasets beside this folder")
def test_files_of_every_format_since_2020_are_whole() -> None:
    arrays = [path.parent for path in SHARED.rglob("__schema") if path.is_dir()]
    known = 0
    for array in arrays:
        for path, size in check_files(LocalFolder(str(array))).items():
            known += 1
            assert size == Path(path).stat().st_size
    assert known > 100


def test_an_array_of_several_fragments_and_timestamps_is_whole(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    dim = tiledb.Dim("i", domain=(0, 99), tile=10, dtype="int32")
    tiledb.Array.create(uri, tiledb.ArraySchema(tiledb.Domain(dim), [tiledb.Attr("v", dtype="f4")], sparse=True))
    for start in (0, 50):
        with tiledb.open(uri, "w") as array:
            array[list(range(start, start + 50))] = [1.0] * 50
    tiledb.consolidate(uri, config=tiledb.Config({"sm.consolidation.with_timestamps": "true"}))
    least = check_files(LocalFolder(uri))
    assert any(path.endswith("/t.tdb") for path in least)
    assert all(size == Path(path).stat().st_size for path, size in least.items())
