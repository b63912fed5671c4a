"""Room is reserved by what is selected, whichever way it is asked for, and before any of it is read."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from cxg.format.dataset import Dataset
from cxg.format.text import Text
from cxg.web.answers.cache import GZIP, Answer, AnswerCache
from cxg.web.limits.admission import Admission
from cxg.web.services import Services
from tests import cxgs
from tests.decode import decode
from tests.served import serve

N_OBS, N_VAR = 2000, 30
API = "/d/a.cxg/api/v0.2/"
COLUMN = 40 * N_OBS


class Recorder(Admission):
    """Notes what is reserved, and whether anything was read before."""

    def __init__(self, making_bytes: int) -> None:
        super().__init__(making_bytes, 6)
        self.reserved: list[int] = []

    @contextmanager
    def memory(self, size_bytes: int) -> Any:
        if size_bytes:
            self.reserved.append(size_bytes)
        with super().memory(size_bytes):
            yield


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    top = tmp_path_factory.mktemp("sizes")
    cxgs.build(top / "data" / "a.cxg", n_obs=N_OBS, n_var=N_VAR)
    made = serve(top / "data", top / "client", {"CXG_CACHE_MB": "0"}, limits={"column_request_max": None})
    made.get(f"{API}data/var?var:name_0=gene0")
    return made


@pytest.fixture
def work(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """The room of the application, recorded; nothing is cached from before."""
    site: Services = client.application.extensions["cxg"]
    recorder = Recorder(48 << 20)
    monkeypatch.setitem(client.application.extensions, "cxg", _with(site, recorder))
    return recorder


def _with(site: Services, work: Admission) -> Services:
    cache = AnswerCache(1 << 20, "version", "no-cache", work.memory)
    return replace(site, cache=cache, work=work)


@pytest.mark.parametrize("query", ["var:number=-1000000,*", "var:number=*,1000000"])
def test_a_range_is_reserved_for_as_many_genes_as_it_selects(client: FlaskClient, work: Recorder, query: str) -> None:
    answer = client.get(f"{API}data/var?{query}")
    selected = len(decode(answer.data).columns)
    assert max(work.reserved) >= 4 * N_OBS * selected + 36 * N_OBS


def test_both_ways_to_ask_for_genes_reserve_the_same(client: FlaskClient, work: Recorder) -> None:
    client.get(f"{API}data/var?var:number=-1000000,*")
    by_query, work.reserved[:] = max(work.reserved), []
    entry = {"name": "number", "min": -1000000}
    client.put(f"{API}data/var", json={"filter": {"var": {"annotation_value": [entry]}}})
    assert max(work.reserved) == by_query
    work.reserved.clear()
    client.put(f"{API}data/var", json={"filter": {"var": {"index": [3]}}})
    small = max(work.reserved)
    work.reserved.clear()
    client.get(f"{API}data/var?var:name_0=gene3")
    assert work.reserved == [COLUMN] == [small]


def test_a_gene_that_is_looked_up_reserves_one_column(client: FlaskClient, work: Recorder) -> None:
    client.get(f"{API}data/var?var:name_0=gene3&var:name_0=gene3&var:name_0=none")
    assert work.reserved == [COLUMN]


@pytest.mark.parametrize(
    "route, least",
    [
        ("annotations/obs", 17 * 4 * N_OBS),
        ("annotations/obs?annotation-name=number", COLUMN),
        ("annotations/obs?annotation-name=note", 8 * N_OBS),
        ("annotations/obs?annotation-name=name_0", 14 * N_OBS),
        ("annotations/var", 10 * 4 * N_VAR),
        ("annotations/var?annotation-name=name_0", 8 * N_VAR),
        ("layout/obs", 2 * 8 * N_OBS),
        ("layout/obs?layout-name=umap", COLUMN),
        ("summarize/var?method=mean&var:name_0=gene1", 8 * N_OBS),
        ("schema", 1000),
        ("colors", 1000),
        ("config", 1000),
    ],
)
def test_each_route_reserves(client: FlaskClient, work: Recorder, route: str, least: int) -> None:
    answer = client.get(API + route)
    assert answer.status_code == 200
    assert max(work.reserved) >= max(least, len(answer.data))


def test_a_column_takes_no_more_than_is_reserved(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the interpreter's and numpy's memory counts, with compression and without."""
    top = tmp_path_factory.mktemp("large")
    cxgs.build(top / "data" / "a.cxg", n_obs=40_000, n_var=4)
    client = serve(top / "data", top / "client", {"CXG_CACHE_MB": "0"})
    site: Services = client.application.extensions["cxg"]
    # Other threads' memory would count too: those that still decode for tests before this one.
    for thread in threading.enumerate():
        if thread.name == "decode":
            thread.join()
    columns = [f"annotations/obs?annotation-name={name}" for name in ("name_0", "note", "label", "many", "number")]
    columns += [f"annotations/obs?annotation-name={name}" for name in ("wide", "flag", "batch", "count", "precise")]
    routes = [*columns, "layout/obs?layout-name=umap", "layout/obs", "data/var?var:name_0=gene1"]
    routes += ["data/var?var:number=-1000,*", "annotations/obs"]
    for route in routes:
        for encoding in ("gzip", ""):
            work = Recorder(48 << 20)
            monkeypatch.setitem(client.application.extensions, "cxg", _with(site, work))
            gc.collect()
            tracemalloc.start()
            with client.get(API + route, headers={"Accept-Encoding": encoding}) as answer:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert answer.status_code == 200
            # A request takes some by itself, whatever it asks for; buffers for a sparse array are mostly not filled.
            assert peak <= max(work.reserved) + (6_000_000 if route.startswith("data") else 700_000), route


def test_long_text_is_reserved_by_its_length(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=50, n_var=5)
    client = serve(tmp_path / "data", tmp_path / "client")
    with client.application.extensions["cxg"].catalog.lease("a.cxg") as opened:
        stored = opened.obs.read("name_0")
        assert isinstance(stored, Text)
        assert opened.obs.text_bytes("name_0") == len(stored.data)
        assert opened.obs.text_bytes("number") is None


def test_nothing_is_read_before_there_is_room(
    client: FlaskClient, work: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def read_columns(self: Dataset, genes: Any) -> Any:
        read.append(work.made_bytes)
        return np.zeros((N_OBS, len(genes)), np.float32, order="F")

    monkeypatch.setattr(Dataset, "read_X_columns", read_columns)
    client.get(f"{API}data/var?var:number=-1000000,*")
    assert read
    assert min(read) == max(work.reserved)


@pytest.mark.parametrize("route", ["data/var?var:number=-1000000,*", "annotations/obs", "layout/obs"])
def test_genes_that_never_fit_are_refused_with_the_number_that_fits(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    site: Services = client.application.extensions["cxg"]
    room = COLUMN + 2 * 4 * N_OBS - 1
    monkeypatch.setitem(client.application.extensions, "cxg", _with(site, Recorder(room)))
    refused = client.get(API + route)
    assert refused.status_code == 400
    assert "at a time" in refused.json["message"]


def test_the_number_of_genes_in_the_refusal_fits(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    site: Services = client.application.extensions["cxg"]
    monkeypatch.setitem(client.application.extensions, "cxg", _with(site, Recorder(COLUMN + 4 * 4 * N_OBS)))
    sentence = client.put(f"{API}data/var", json={"filter": {"var": {"index": [[0, 30]]}}}).json["message"]
    assert "up to 5 at a time" in sentence
    answer = client.put(f"{API}data/var", json={"filter": {"var": {"index": [[0, 5]]}}})
    assert len(decode(answer.data).columns) == 5
    assert client.put(f"{API}data/var", json={"filter": {"var": {"index": [[0, 6]]}}}).status_code == 400


def test_one_column_is_always_made(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    site: Services = client.application.extensions["cxg"]
    monkeypatch.setitem(client.application.extensions, "cxg", _with(site, Recorder(1000)))
    for route in ("data/var?var:name_0=gene1", "annotations/obs?annotation-name=note", "layout/obs?layout-name=pca"):
        assert client.get(API + route).status_code == 200


def test_genes_read_in_groups_are_the_same(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    site: Services = client.application.extensions["cxg"]
    route = f"{API}data/var?var:number=-1000000,*"
    monkeypatch.setitem(client.application.extensions, "cxg", _with(site, Admission(48 << 20, 6)))
    together = client.get(route, headers={"Accept-Encoding": "gzip"}).data
    monkeypatch.setitem(client.application.extensions, "cxg", _with(site, Admission(COLUMN + 4 * 29 * N_OBS, 6)))
    seen: list[int] = []
    read = Dataset.read_X_columns

    def watched(self: Dataset, genes: Any) -> Any:
        seen.append(len(genes))
        return read(self, genes)

    monkeypatch.setattr(Dataset, "read_X_columns", watched)
    assert client.get(route, headers={"Accept-Encoding": "gzip"}).data == together
    assert seen == [1] * 30


def test_an_answer_releases_its_parts_one_by_one() -> None:
    """Compressed or joined, it is not in memory twice."""
    for encoding in (GZIP, "identity"):
        parts = [np.full(250_000, number, np.int32).data.cast("B") for number in range(8)]
        answer = Answer(parts, "application/octet-stream")
        held = len(parts)
        gc.collect()
        del parts
        tracemalloc.start()
        stored = AnswerCache(1 << 20, "", "").find_or_make(("f", "p", "q", encoding), lambda answer=answer: answer)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert held == 8
        assert answer.content == []
        assert peak < 12_000_000
        assert stored.body


def test_an_answer_that_hardly_shrinks_is_sent_uncompressed() -> None:
    """The piece that was looked at shrinks, the rest does not."""
    rng = np.random.default_rng(0)
    parts = [bytes(300_000), *(rng.bytes(200_000) for _ in range(9))]
    stored = AnswerCache(1 << 24, "", "").find_or_make(
        ("f", "p", "q", GZIP), lambda: Answer(list(parts), "application/octet-stream")
    )
    assert stored.body == b"".join(parts)
    assert "Content-Encoding" not in dict(stored.headers)
    assert not stored.etag.endswith('-gz"')


def test_decompression_reserves_memory() -> None:
    room = Recorder(1 << 20)
    cache = AnswerCache(1 << 20, "", "", room.memory)
    cache.find_or_make(("f", "p", "q", GZIP), lambda: Answer(bytes(100_000), "application/json"))
    room.reserved.clear()
    assert cache.find_or_make(("f", "p", "q", "identity"), lambda: pytest.fail("made again")).body == bytes(100_000)
    assert room.reserved == [100_000]
