"""Metadata of any size: what a dataset says stays within what a visitor can load and a worker can hold."""

import json
import shutil
import sys
from contextlib import closing
from pathlib import Path

import pytest
import tiledb

from cxg.config import load
from cxg.errors import DatasetInvalid
from cxg.format import text_limits as bounds
from cxg.format.dataset import open_dataset
from cxg.format.text_limits import cut, cut_labels, is_short_name, parsed_bytes
from cxg.storage.storage import Storage
from tests import cxgs
from tests.served import serve

HUGE = "x" * 2_000_000
GROUP = "cxg_group_metadata"
COLORS = dict.fromkeys(("a", "b"), HUGE)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cxgs.build(tmp_path_factory.mktemp("bounds") / "a.cxg", n_obs=6, n_var=6, default_embedding=None).path


def rewritten(source: Path, target: Path, array: str, key: str, change) -> Path:
    """A copy of a CXG with one value of its metadata changed."""
    shutil.copytree(source, target)
    with tiledb.open(str(target / array)) as opened:
        before = json.loads(opened.meta[key]) if key in opened.meta and key != "cxg_version" else {}
    with tiledb.open(str(target / array), "w") as opened:
        opened.meta[key] = json.dumps(change(before))
    return target


def with_label(hints):
    hints["label"]["categories"][:2] = [HUGE + "a", HUGE + "b"]
    return hints


def gene_sets(**changes):
    genes = [{"gene_symbol": "gene1", "gene_description": "d"}]
    return [{"geneset_name": "s", "geneset_description": "d", "genes": genes} | changes]


LARGE = {
    "title": (GROUP, "cxg_properties", lambda old: {**old, "title": HUGE}, "The title has 2,000,000 characters"),
    "title of the portal": (GROUP, "corpora", lambda old: {"title": HUGE}, "The title has 2,000,000 characters"),
    "link": (GROUP, "cxg_properties", lambda old: {"about": f"https://{HUGE}"}, "The link 'about' has 2,000,008"),
    "link that is a list": (GROUP, "cxg_properties", lambda old: {"about": [HUGE]}, "The link 'about' has"),
    "portal": (GROUP, "corpora", lambda old: {"title": "T", "notes": HUGE}, "'notes' is ignored"),
    "portal, many values": (GROUP, "corpora", lambda old: {f"k{i}": "x" * 60_000 for i in range(99)}, "and 94 more"),
    "format version": (GROUP, "cxg_version", lambda old: HUGE, "The format version has"),
    "colours": (GROUP, "cxg_category_colors", lambda old: {"label": COLORS}, ""),
    "colours of a column": (GROUP, "cxg_category_colors", lambda old: {HUGE: {"a": "#000000"}}, ""),
    "labels": ("obs", "cxg_schema", with_label, "has 2 labels of more than 1,000 characters"),
    "gene set name": ("obs", "genesets", lambda old: gene_sets(geneset_name=HUGE), "1 names or descriptions"),
    "gene set description": ("obs", "genesets", lambda old: gene_sets(geneset_description=HUGE), "1 names or"),
    "gene description": (
        "obs", "genesets",
        lambda old: gene_sets(genes=[{"gene_symbol": "gene1", "gene_description": HUGE}] * 2), "2 names or",
    ),
    "objects": (GROUP, "cxg_properties", lambda old: [[]] * 500_000, "cxg_properties needs about"),
}  # fmt: skip


@pytest.fixture(scope="module")
def large(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataroot with a dataset for each kind of large metadata."""
    top = tmp_path_factory.mktemp("large")
    for what, (array, key, change, _) in LARGE.items():
        rewritten(source, top / "data" / f"{what}.cxg", array, key, change)
    return top


@pytest.mark.parametrize("what", LARGE)
def test_answers_stay_small_and_inspection_tells(large: Path, tmp_path: Path, what: str) -> None:
    client = serve(large / "data", tmp_path)
    for route in ("config", "schema", "colors", "genesets", "layout/obs?layout-name=umap"):
        answer = client.get(f"/d/{what}.cxg/api/v0.2/{route}")
        assert answer.status_code == 200, (route, answer.text[:200])
        assert len(answer.data) < 400_000, route
    label = client.get(f"/d/{what}.cxg/api/v0.2/annotations/obs?annotation-name=label")
    assert label.status_code == 200
    assert len(label.data) < 10_000
    assert client.get(f"/d/{what}.cxg/").status_code == 200
    with closing(open_dataset(Storage(load("", {}).config), str(large / "data" / f"{what}.cxg"), "a.cxg")) as dataset:
        assert any(LARGE[what][3] in text for text in dataset.warnings) or not LARGE[what][3]
        assert sum(map(len, dataset.warnings)) < 5000


def test_the_title_is_cut_where_it_is_shown(large: Path, tmp_path: Path) -> None:
    client = serve(large / "data", tmp_path)
    title = client.get("/d/title.cxg/api/v0.2/config").json["config"]["displayNames"]["dataset"]
    assert title == "x" * 999 + "…"


def test_labels_that_need_too_much_memory_make_the_dataset_one_that_cannot_be_opened(
    source: Path, tmp_path: Path
) -> None:
    def many(hints):
        hints["label"]["categories"] = [""] * 1_000_000
        return hints

    path = rewritten(source, tmp_path / "data" / "a.cxg", "obs", "cxg_schema", many)
    with pytest.raises(DatasetInvalid, match=r"The labels of obs .* need about .* MB of memory, and 64 MB are allowed"):
        open_dataset(Storage(load("", {}).config), str(path), "a.cxg")
    assert "The labels of obs" in serve(tmp_path / "data", tmp_path / "client").get("/").text


def test_cut() -> None:
    warnings: list[str] = []
    assert cut("12345", 5, "It", warnings) == "12345"
    assert warnings == []
    assert cut("123456", 5, "It", warnings) == "1234…"
    assert warnings == ["It has 6 characters; only the first 4 are used."]


def test_cut_labels_stay_different_and_in_their_places() -> None:
    long = "x" * 5000
    warnings: list[str] = []
    labels = ("a", long + "1", 7, long + "2", "x" * (bounds.LABEL_MAX - 1) + "…", True)
    found = cut_labels(labels, "Column 'c'", warnings)
    assert len(set(found)) == 6
    assert (found[0], found[2], found[4], found[5]) == (labels[0], labels[2], labels[4], labels[5])
    assert all(len(label) <= bounds.LABEL_MAX for label in found if isinstance(label, str))
    assert len(warnings) == 1
    assert cut_labels(labels[:1], "Column 'c'", []) == ("a",)


def test_a_column_that_no_request_can_name_is_left_out() -> None:
    warnings: list[str] = []
    assert is_short_name("a", "obs", warnings)
    assert not is_short_name("x" * 1001, "obs", warnings)
    assert "its name has 1,001 characters" in warnings[0]
    assert len(warnings[0]) < 200


@pytest.mark.parametrize(
    "value", [[[]] * 50_000, [{}] * 50_000, [{"a": 1.5}] * 30_000, {str(k): k for k in range(50_000)}, ["ab"] * 90_000]
)
def test_the_estimate_is_above_what_parsing_takes(value) -> None:
    text = json.dumps(value)
    assert parsed_bytes(text) >= 0.9 * _held_bytes(json.loads(text), set())


def _held_bytes(value, counted: set[int]) -> int:
    """Memory of a value and all in it, each object once."""
    if id(value) in counted:
        return 0
    counted.add(id(value))
    inside = [*value.keys(), *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return sys.getsizeof(value) + sum(_held_bytes(one, counted) for one in inside)
