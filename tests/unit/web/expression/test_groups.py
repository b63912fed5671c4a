"""Labels of columns of every kind, against what was written."""

import numpy as np
import pytest

from cxg.config import default
from cxg.errors import BadFilter, LimitExceeded, UnknownColumn
from cxg.format.columns import Column, Labels
from cxg.format.dataset import open_dataset
from cxg.format.text import Text
from cxg.storage.storage import Storage
from cxg.web.expression.groups import group_cells, label_columns, require_labels
from tests import cxgs


@pytest.fixture(scope="module", params=["Xr/Xc", "0.0-dense"])
def written(request, tmp_path_factory):
    return cxgs.build(tmp_path_factory.mktemp("groups") / "a.cxg", request.param, n_obs=60)


@pytest.fixture(scope="module")
def obs(written):
    return open_dataset(Storage(default()), str(written.path), "a.cxg").obs


def grouped(obs, name, most=1000):
    return group_cells(require_labels(obs, name), obs.read(name), most)


def test_every_label_has_its_cells(written, obs):
    checked = 0
    for name, column in written.obs.items():
        if column.type in ("int32", "float32"):
            continue
        groups = grouped(obs, name)
        values = column.values
        for place, label in enumerate(groups.labels):
            cells = [k for k, value in enumerate(values) if value is not None and as_text(value) == label]
            assert np.flatnonzero(groups.codes == place).tolist() == cells
            assert groups.counts[place] == len(cells) > 0
        none = [value is None or value != value for value in values]
        assert (~np.isin(groups.codes, range(len(groups.labels)))).tolist() == none
        checked += 1
    assert checked >= 5


def as_text(value):
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def test_listed_labels_keep_their_order(written, obs):
    used = set(written.obs["label"].values)
    assert list(grouped(obs, "label").labels) == [label for label in written.obs["label"].categories if label in used]


def test_text_is_sorted():
    column, rows = Column("x", "string"), Text.of(["b", "a", "é", "a", ""])
    groups = group_cells(column, rows, 9)
    assert groups.labels == ("", "a", "b", "é")
    assert groups.codes.tolist() == [2, 1, 3, 1, 0]


def test_codes_of_no_label_are_left_out():
    groups = group_cells(Column("x", "categorical", ("a", "b")), Labels(np.array([1, -1, 2, 99, 1]), ("a", "b")), 9)
    assert groups.labels == ("b",)
    assert groups.counts.tolist() == [2]
    assert groups.codes.tolist() == [0, -1, -1, -1, 0]


def test_numeric_columns_are_refused(obs):
    with pytest.raises(BadFilter, match="numeric"):
        require_labels(obs, "number")
    with pytest.raises(UnknownColumn, match="nope"):
        require_labels(obs, "nope")


@pytest.mark.parametrize("name", ["name_0", "label"])
def test_too_many_labels_are_refused(obs, name):
    with pytest.raises(LimitExceeded, match="more than 2 labels"):
        grouped(obs, name, most=2)


def test_offered_columns_have_known_labels(written, obs):
    offered = label_columns(obs, 1000)
    assert "label" in offered
    assert "number" not in offered
    assert "name_0" not in offered
    assert "many" not in label_columns(obs, 250)
