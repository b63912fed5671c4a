"""Lists of names in an address."""

import pytest

from cxg.web.expression.names import join_names, split_names
from tests.cxg_columns import ODD_GENES

NAMES = [*ODD_GENES, "a\\b", "a\\,b", "\\", ",", "ends\\", "a/b", "基因", "x" * 300]


def test_names_come_back():
    assert split_names(join_names(NAMES)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_alone_comes_back(name):
    assert split_names(join_names([name])) == [name]


@pytest.mark.parametrize(
    "text,names",
    [
        ("", []),
        (" , ,", []),
        ("CD3D,MS4A1", ["CD3D", "MS4A1"]),
        (" CD3D ,\n MS4A1 ", ["CD3D", "MS4A1"]),
        (r"g\,1,x", ["g,1", "x"]),
        (r"a\:b\!", ["a:b!"]),
        ("a\\", ["a\\"]),
    ],
)
def test_what_people_type(text, names):
    assert split_names(text) == names
