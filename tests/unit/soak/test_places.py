"""What is done to datasets and to the cache folder, and that the right answers know the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import cxgs
from tests.soak import datasets
from tests.soak.client import digest_of, rounded
from tests.soak.oracle import check
from tests.soak.places import FOREIGN, Disturbed, Folder
from tests.soak.questions import COMPARISON, GENE, MEAN, PAGE, Question, compared_cells, questions
from tests.soak.schedule import CHANGES, CUT_CACHE, FLIP_CACHE
from tests.soak.timeline import GONE


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    for version in ("swapped.1", "swapped.2", "rewritten.1", "rewritten.2", "damaged.1", "coming.1", "twin.1"):
        (tmp_path / "versions" / f"{version}.cxg" / "obs" / "__schema").mkdir(parents=True)
        (tmp_path / "versions" / f"{version}.cxg" / "obs" / "__schema" / version).write_text(version)
    return tmp_path / "versions"


@pytest.fixture
def disturbed(versions: Path, tmp_path: Path) -> Disturbed:
    found = Disturbed(Folder(versions, tmp_path / "data"), tmp_path / "rows")
    found.prepare(datasets.CHANGING)
    return found


def content(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in (folder / "data" / name).rglob("*") if path.is_file())


def test_what_is_in_place_is_what_the_timeline_says(disturbed: Disturbed, tmp_path: Path) -> None:
    for kind in (*CHANGES, *CHANGES[1:]):
        disturbed.change(kind)
        for name in ("swapped.cxg", "rewritten.cxg", "coming.cxg", "twin.cxg"):
            version = disturbed.timelines[name].version
            assert content(tmp_path, name) == ([version] if version != GONE else []), (kind, name)
    assert disturbed.timelines["swapped.cxg"].version == "swapped.1"
    assert [path.name for path in (tmp_path / "data").iterdir() if path.name.startswith(".")] == []


def test_each_damage_comes_in_turn(disturbed: Disturbed) -> None:
    found = []
    for _ in range(4):
        disturbed.change("damage")
        found.append(disturbed.timelines["damaged.cxg"].version)
        disturbed.change("repair")
    assert found == [*datasets.DAMAGES, "damaged.cut"]


@pytest.mark.parametrize("kind", [CUT_CACHE, FLIP_CACHE])
def test_only_files_of_the_server_are_corrupted(disturbed: Disturbed, kind: str) -> None:
    for number in range(4):
        (disturbed.cache / f"{number}.f4").write_bytes(b"\xff" * 1000)
    assert len(disturbed.cache_files()) == 4
    disturbed.corrupt(kind, 1)
    assert not [path for path in disturbed.cache_files() if path.read_bytes() == b"\xff" * 1000]
    assert disturbed.spoiled() == []


def test_a_touched_file_of_the_operator_is_noticed(disturbed: Disturbed) -> None:
    (disturbed.cache / "lock").write_text("")
    (disturbed.cache / "my-columns/column.txt").unlink()
    assert disturbed.spoiled() == ["my-columns/column.txt", "lock"]
    assert set(disturbed.spoiled()) < set(FOREIGN)


def test_a_look_alike_has_other_values_under_the_same_sizes_and_times(tmp_path: Path) -> None:
    path = cxgs.build(tmp_path / "steady.1.cxg", n_obs=datasets.USUAL.n_obs, n_var=4).path
    before = {file: (file.stat().st_size, file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*.tdb")}
    datasets.turn_embedding(path)
    after = {file: (file.stat().st_size, file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*.tdb")}
    assert [one[:2] for one in before.values()] == [one[:2] for one in after.values()]
    assert len([file for file in before if before[file] != after[file]]) == 1


@pytest.mark.parametrize("damage", datasets.DAMAGES.values())
def test_damages_change_files(damage, tmp_path: Path) -> None:
    path = cxgs.build(tmp_path / "damaged.cxg", n_obs=5, n_var=4).path
    before = sum(file.stat().st_size for file in path.rglob("*")), len(list(path.rglob("*")))
    damage(path)
    assert (sum(file.stat().st_size for file in path.rglob("*")), len(list(path.rglob("*")))) != before


def test_a_wrong_value_of_the_quiet_server_is_noticed(tmp_path: Path) -> None:
    from cxg.wire.fbs import encode_matrix

    truth = cxgs.build(tmp_path / "steady.1.cxg", n_obs=5, n_var=12)
    question = next(one for one in questions(5, 12) if one.kind == GENE)
    values = truth.X[:, 0].copy()
    check(truth, question, b"".join(encode_matrix([values], [0], 5)))
    values[3] += 1
    with pytest.raises(AssertionError, match="gene0"):
        check(truth, question, b"".join(encode_matrix([values], [0], 5)))


def test_questions_have_keys_of_their_own() -> None:
    found = questions(30, 40)
    assert len({one.key for one in found}) == len(found)
    assert len([one for one in found if one.kind == GENE]) == 40 - len(cxgs.ODD_GENES)
    assert {MEAN, COMPARISON} < {one.kind for one in found}
    assert compared_cells(30, 2) == ((0, 10), (10, 20))


def test_last_digits_of_a_comparison_do_not_count() -> None:
    ours, theirs, other = (
        b'{"positive": [[3, %b, 1e-20, 0.5]], "negative": []}' % number
        for number in (b"0.12345678901", b"0.12345678902", b"0.12346678901")
    )
    comparison = next(one for one in questions(30, 40) if one.kind == COMPARISON)
    gene = next(one for one in questions(30, 40) if one.kind == GENE)
    assert digest_of(comparison, ours) == digest_of(comparison, theirs) != digest_of(comparison, other)
    assert digest_of(gene, ours) != digest_of(gene, theirs)
    assert rounded(b"no JSON") == b"no JSON"


def test_pages_of_one_dataset_in_two_places_are_equal() -> None:
    page = Question(PAGE, "page", "")

    def made(title: str, **place: str) -> bytes:
        block = json.dumps({"dataset": "", "title": title, "version": "", "api": ""} | place)
        return f'<p>x<script type="application/json" id="cxg-visit">{block}</script></p>'.encode()

    here, there = made("T", dataset="a.1.cxg", version="1"), made("T", dataset="a.cxg", api="api/2/")
    assert digest_of(page, here) == digest_of(page, there) != digest_of(page, made("another"))
    assert digest_of(page, here) != digest_of(page, here + b" ")
