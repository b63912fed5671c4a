"""Which matrices are taken for counts, whoever wrote the CXG: never one with a negative value."""

import json

import numpy as np
import pytest
import tiledb

from cxg.config import default
from cxg.format.dataset import Dataset, open_dataset
from cxg.storage.storage import Storage
from tests import cxgs

FORMS = ("Xr/Xc", "0.3.0-sparse", "0.3.0-dense", "0.2.0-shift")
N_OBS, N_VAR = 30, 40


@pytest.fixture(scope="module")
def storage() -> Storage:
    return Storage(default())


def rewritten(path, kind, x, *, dtype=np.float32):
    """A CXG of one kind whose X holds other values; of sparse kinds zeros are not stored."""
    cxgs.build(path, kind=kind)
    for name in ("Xr", "Xc", "X"):
        uri = path / name
        if not uri.exists():
            continue
        schema = tiledb.ArraySchema.load(str(uri))
        attrs = [tiledb.Attr(a.name, dtype=dtype if a.name == "" else a.dtype) for a in attributes(schema)]
        made = tiledb.ArraySchema(
            domain=schema.domain, attrs=attrs, sparse=schema.sparse, allows_duplicates=schema.sparse
        )
        tiledb.Array.delete_array(str(uri))
        tiledb.Array.create(str(uri), made)
        cxgs.fill_x(uri, name, x.astype(dtype), sparse=bool(schema.sparse), timestamp=1000)
    return path


def attributes(schema):
    return [schema.attr(i) for i in range(schema.nattr)]


def counts():
    return np.random.default_rng(3).poisson(2.0, (N_OBS, N_VAR)).astype(np.float64) * 10


def is_counts(storage, path) -> bool:
    opened: Dataset = open_dataset(storage, str(path), path.name)
    try:
        return opened.looks_like_counts
    finally:
        opened.close()


def with_values(*places):
    x = counts()
    for row, column, value in places:
        x[row, column] = value
    return x


@pytest.mark.parametrize("kind", ["Xr/Xc", "0.3.0-sparse", "0.3.0-dense"])
@pytest.mark.parametrize(
    "x, expected",
    [
        (counts(), True),
        (with_values((N_OBS - 1, N_VAR - 1, -1)), False),
        (with_values((0, 0, -1)), False),
        (with_values((N_OBS - 1, 3, -1e-9)), False),
        (with_values((5, 3, -np.inf)), False),
        (with_values((5, 3, np.inf)), True),
        (with_values((5, 3, np.nan)), True),
        (with_values((0, 0, np.nan), (5, 3, -2)), False),
        (with_values((0, 0, np.inf), (N_OBS - 1, 3, -2)), False),
        (np.full((N_OBS, N_VAR), np.nan), False),
        (with_values(*((row, 4, -0.0) for row in range(N_OBS))), True),
        (counts() / 10, False),
        (counts() - 40, False),
    ],
)
def test_of_others(tmp_path, storage, kind, x, expected):
    assert is_counts(storage, rewritten(tmp_path / "a.cxg", kind, x)) is expected


@pytest.mark.parametrize("kind", ["Xr/Xc", "0.3.0-dense"])
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint16, np.float64])
def test_of_other_types(tmp_path, storage, kind, dtype):
    assert is_counts(storage, rewritten(tmp_path / "a.cxg", kind, counts(), dtype=dtype))
    if np.dtype(dtype).kind != "u":
        x = with_values((N_OBS - 1, N_VAR - 1, -1))
        assert not is_counts(storage, rewritten(tmp_path / "b.cxg", kind, x, dtype=dtype))


@pytest.mark.parametrize("shift, expected", [(0.5, True), (-5.0, False)])
def test_of_a_shifted_one(tmp_path, storage, shift, expected):
    """The values are those after the shift, also of places where nothing is stored."""
    path = rewritten(tmp_path / "a.cxg", "0.2.0-shift", counts())
    with tiledb.open(str(path / "X_col_shift"), "w") as array:
        array[:] = np.where(np.arange(N_VAR) == N_VAR - 1, shift, 0.0)
    assert is_counts(storage, path) is expected


@pytest.mark.parametrize("kind", ["Xr/Xc", "0.3.0-sparse", "0.3.0-dense"])
@pytest.mark.parametrize("old, new, expected", [(-1.0, 1.0, True), (1.0, -1.0, False)])
def test_only_the_last_generation_is_looked_at(tmp_path, storage, kind, old, new, expected):
    path = rewritten(tmp_path / "a.cxg", kind, counts() * old)
    for name in ("Xr", "Xc", "X"):
        if (path / name).exists():
            cxgs.fill_x(path / name, name, counts() * new, sparse="dense" not in kind, timestamp=2000)
    assert is_counts(storage, path) is expected


@pytest.mark.parametrize(
    "claimed, x, expected",
    [
        ("count", counts(), True),
        ("count", counts() / 100, True),
        ("count", with_values((N_OBS - 1, N_VAR - 1, -1)), False),
        ("normal", counts(), False),
    ],
)
def test_what_a_portal_claims_gives_way_to_negative_values(tmp_path, storage, claimed, x, expected):
    path = rewritten(tmp_path / "a.cxg", "Xr/Xc", x)
    with tiledb.open(str(path / "cxg_group_metadata"), "w") as array:
        array.meta["corpora"] = json.dumps({"X_approximate_distribution": claimed})
    assert is_counts(storage, path) is expected


@pytest.mark.parametrize("minimum", [-3.0, None])
@pytest.mark.parametrize("value", [-0.5, -3.0, -np.inf])
def test_sums_of_logarithms_of_negative_values_are_not_used(tmp_path, storage, minimum, value):
    """An earlier `cxg convert` wrote them; where the least value is not told or infinite, X is looked at."""
    x = with_values((7, 3, value))
    path = rewritten(tmp_path / "a.cxg", "Xr/Xc", x)
    with np.errstate(all="ignore"):
        logs = np.log1p(x)
    cxgs.write_dense(path / "X_totals", {"sum": logs.sum(axis=0), "sum_squares": (logs**2).sum(axis=0)})
    with tiledb.open(str(path / "X_totals"), "w") as array:
        array.meta["transform"] = "log1p"
        if minimum is not None:
            array.meta["min"] = minimum
    opened = open_dataset(storage, str(path), path.name)
    assert not opened.looks_like_counts
    assert opened.totals is None
    opened.close()


def test_sums_of_counts_with_infinite_values_are_looked_into(tmp_path, storage):
    """The finite values are not negative, yet -inf is."""
    x = with_values((7, 3, -np.inf))
    path = rewritten(tmp_path / "a.cxg", "Xr/Xc", x)
    with np.errstate(all="ignore"):
        logs = np.log1p(x)
    cxgs.write_dense(path / "X_totals", {"sum": logs.sum(axis=0), "sum_squares": (logs**2).sum(axis=0)})
    with tiledb.open(str(path / "X_totals"), "w") as array:
        array.meta["transform"], array.meta["min"] = "log1p", 0.0
    assert not is_counts(storage, path)
