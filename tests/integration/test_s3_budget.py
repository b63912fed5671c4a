"""How many requests to S3 each operation costs; counted, never timed.

On S3 a request waits for tens of milliseconds however little it fetches, so their number
is what users feel. Every case starts with a new application and an empty cache folder, and
asks as the web client does. A budget that is exceeded means that something is read twice,
or is read and not needed; one that is far from used should be lowered.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from benchmarks import make_h5ad
from benchmarks.questions import diffexp_body, random_sets
from cxg.cli.main import main as cxg
from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.datasets import opening
from cxg.decoded.cache import DecodedCache
from cxg.web.app import create_app
from tests import cxgs
from tests.integration import minio, s3_proxy
from tests.integration.s3_proxy import GET, HEAD, LIST, Counts
from tests.served import stand_in_client

pytestmark = pytest.mark.integration

BUCKET = "budget"
CELLS, GENES = 3000, 2000
# A CXG that our converter wrote, and one with X in two dimensions and labels as text, as older ones are.
NAMES = {"converted": "GENE{}", "older": "gene{}", "described": "gene{}"}
MARKERS = "gene_set_name,gene_set_description,gene_symbol,gene_description\nT,,gene1,\n"
AT_ONCE = 6  # connections that browsers open to one server
# Enough for requests that can overlap to do so.
DELAY_S = 0.005
SETS = random_sets(CELLS, 1000, 1)

# Operation -> most requests: for the converted CXG with room for local copies and without, for the older one with room.
# The page is what a visitor asks for first: it opens the dataset, and fetches the columns ahead. Where there are copies,
# half of the requests look for the size of an object; all are on their way at the same time.
BUDGETS = {
    "page": (100, 82, 80),
    "first plot": (4, 24, 4),
    "first gene": (2, 21, 29),
    "next gene": (3, 3, 16),
    "50 genes": (20, 20, 720),
    "mean of 20 genes": (4, 4, 6),
    # TileDB reads 32 MB of tiles at a time. A converted dataset has sums of labels, which each worker opens once. An
    # array that is opened in place is listed first, and the ends of its files looked at, all at the same time.
    "differential expression": (37, 57, 26),
    "warm repeat": (0, 0, 0),
    "revalidation": (1, 1, 1),
    "revalidated again": (0, 0, 0),
    "start page": (32, 83, 32),
    "start page again": (0, 0, 0),
}
CASES = {"converted": ("converted", {}), "no copies": ("converted", {"CXG_CACHE_MB": "0"}), "older": ("older", {})}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minio.Store]:
    """A store with each dataset in a dataroot of its own."""
    top = tmp_path_factory.mktemp("budget")
    source = top / "cells.h5ad"
    size = ["--cells", str(CELLS), "--genes", str(GENES)]
    assert make_h5ad.main([str(source), *size]) == 0
    (top / "converted").mkdir()
    assert cxg(["convert", str(source), str(top / "converted" / "d.cxg")]) == 0
    cxgs.build(top / "older" / "d.cxg", "0.2.0-sparse", CELLS, GENES)
    cxgs.build(top / "described" / "d.cxg", n_obs=30)
    (top / "described" / "d.yaml").write_text("title: Said\ngene_sets: m.csv\n")
    (top / "described" / "m.csv").write_text(MARKERS)
    with minio.running() as running:
        running.client().create_bucket(Bucket=BUCKET)
        for name in NAMES:
            running.upload(top / name, BUCKET, name)
        yield running


@pytest.fixture(scope="module")
def proxy(store: minio.Store) -> Iterator[s3_proxy.Proxy]:
    with s3_proxy.running(store.url, DELAY_S) as running:
        yield running


class Visit:
    """One visitor of a new application, and what the visit costs."""

    def __init__(self, proxy: s3_proxy.Proxy, name: str, folder: Path, environment: dict[str, str]) -> None:
        locator = {"s3": {"endpoint_url": proxy.url, "region_name": "us-east-1"}}
        settings: dict[str, Any] = {"multi_dataset": {"dataroot": f"s3://{BUCKET}/{name}"}, "data_locator": locator}
        config = load(str(settings), {}).config
        environment = {"CXG_CACHE_DIR": str(folder / "cache"), **environment}
        self.app = create_app(
            config,
            stand_in_client(folder / "client"),
            runtime=Runtime.of({**os.environ, **environment}),
            # However long the visit takes, the files beside the dataset are listed once.
            times=opening.Times(describe_s=3600.0),
        )
        self._proxy, self._gene = proxy, NAMES[name]
        self.spent: dict[str, Counts] = {}

    def ask(self, *paths: str, body: bytes | None = None) -> None:
        """Ask for paths below the dataset, several at a time."""

        def one(path: str) -> None:
            options = {} if body is None else {"method": "POST", "data": body, "content_type": "application/json"}
            answer = self.app.test_client().open(path if path == "/" else f"/d/d.cxg/{path}", **options)
            assert answer.status_code == 200, (path, answer.text[:300])

        with ThreadPoolExecutor(AT_ONCE) as browser:
            list(browser.map(one, paths))

    def note(self, operation: str) -> None:
        """Note what was asked of the store since the last time, once nothing goes on in the background."""
        for thread in threading.enumerate():
            if thread.name == "prefetch":
                thread.join(30)
                assert not thread.is_alive()
        self.spent[operation] = self._proxy.take()

    def genes(self, *numbers: int) -> list[str]:
        return [f"var:name_0={quote(self._gene.format(number))}" for number in numbers]

    def go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Open the dataset, look at it, look again."""
        api = "api/v0.2/"
        # However long the visit takes, it lies within one interval between two looks at the files.
        monkeypatch.setattr(opening.Entry, "is_fresh", lambda entry: True)
        self._proxy.take()
        self.ask("")
        self.note("page")
        self.ask(*(f"{api}{route}" for route in ("schema", "config", "colors")))
        columns = self.app.test_client().get(f"/d/d.cxg/{api}schema").json["schema"]["annotations"]["obs"]["columns"]
        plot = [f"{api}layout/obs?layout-name=umap"]
        plot += [f"{api}annotations/obs?annotation-name={quote(column['name'], safe='')}" for column in columns]
        self.ask(*plot)
        self.note("first plot")
        for operation, number in (("first gene", 5), ("next gene", 1205)):
            self.ask(f"{api}data/var?{self.genes(number)[0]}")
            self.note(operation)
        for gene in self.genes(*range(20, 2000, 40)):
            self.ask(f"{api}data/var?{gene}")
        self.note("50 genes")
        self.ask(f"{api}summarize/var?method=mean&" + "&".join(self.genes(*range(35, 2000, 100))))
        self.note("mean of 20 genes")
        self.ask(f"{api}diffexp/obs", body=diffexp_body(*SETS))
        self.note("differential expression")
        self.ask(f"{api}schema", *plot, f"{api}data/var?{self.genes(5)[0]}")
        self.note("warm repeat")
        monkeypatch.setattr(opening.Entry, "is_fresh", lambda entry: False)
        self.ask(f"{api}schema")
        self.note("revalidation")
        monkeypatch.setattr(opening.Entry, "is_fresh", lambda entry: True)
        self.ask(f"{api}schema")
        self.note("revalidated again")


@pytest.fixture(scope="module", params=CASES)
def visited(
    request: pytest.FixtureRequest, store: minio.Store, proxy: s3_proxy.Proxy, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, Counts]]:
    """Number of the case, and what each operation cost in it."""
    name, environment = CASES[request.param]
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as during:
        for variable, value in store.environment().items():
            patch.setenv(variable, value)
        # Decoding the whole dataset, which begins some seconds after the page was asked for, is not what is counted.
        patch.setattr(DecodedCache, "request", lambda cache, dataset: None)
        visit = Visit(proxy, name, tmp_path_factory.mktemp("visit"), environment)
        visit.go(during)
        # Another process with an empty folder: the list of datasets alone.
        listed = Visit(proxy, name, tmp_path_factory.mktemp("list"), environment)
        proxy.take()
        for operation in ("start page", "start page again"):
            listed.ask("/")
            listed.note(operation)
    return list(CASES).index(request.param), visit.spent | listed.spent


@pytest.mark.parametrize("operation", BUDGETS)
def test_budget(visited: tuple[int, dict[str, Counts]], operation: str) -> None:
    case, spent = visited
    budget = BUDGETS[operation][case]
    assert spent[operation].total <= budget, (spent[operation].by_operation(), spent[operation].by_array("d.cxg"))
    assert set(spent[operation].by_operation()) <= {GET, HEAD, LIST}


def test_the_proxy_counts(visited: tuple[int, dict[str, Counts]]) -> None:
    # An address that bypasses the proxy would keep every budget.
    page = visited[1]["page"]
    assert {GET, HEAD, LIST} <= set(page.by_operation())
    assert page.total > 20


def test_what_a_page_lists(visited: tuple[int, dict[str, Counts]]) -> None:
    # One listing to know the files, one to know that they stayed the same; the matrix is opened by TileDB itself.
    case, spent = visited
    asked = [one.key for one in spent["page"].asked if one.operation == LIST and not one.key.endswith("__/")]
    # The other listing is that of the dataroot, for descriptions.
    lists = [key for key in asked if "d.cxg/" in key]
    assert len(asked) - len(lists) == 1
    whole = [key for key in lists if key.endswith("d.cxg/")]
    assert len(whole) == 2
    if case == 0:
        assert {key.split("d.cxg/")[1].split("/")[0] for key in lists} <= {"", "Xc"}


def test_what_a_description_costs(
    store: minio.Store, proxy: s3_proxy.Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in store.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(DecodedCache, "request", lambda cache, dataset: None)
    monkeypatch.setattr(opening.Entry, "is_fresh", lambda entry: True)
    visit = Visit(proxy, "described", tmp_path, {})
    proxy.take()
    visit.ask("api/v0.2/schema")
    visit.note("dataset")
    for operation in ("described", "described again"):
        config = visit.app.test_client().get("/d/d.cxg/api/v0.2/config").json["config"]
        assert config["displayNames"]["dataset"] == "Said"
        visit.note(operation)
    # The listing of the dataroot; the description: its size, its size again, its content; the size of its gene sets.
    assert visit.spent["described"].total <= 5, visit.spent["described"].by_operation()
    assert visit.spent["described again"].total == 0
    genesets = visit.app.test_client().get("/d/d.cxg/api/v0.2/genesets").json["genesets"]
    assert [one["geneset_name"] for one in genesets] == ["T"]
    visit.note("gene sets")
    keys = [one.key for one in visit.spent["gene sets"].asked if one.key.endswith(("d.yaml", "m.csv"))]
    assert len(keys) <= 3, keys
