"""What breaks while visitors are there: a worker, a dataset's files, the store. No restart, no wrong byte, others unaffected."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import cxgs
from tests.integration import gate, minio
from tests.integration.hostile import API
from tests.integration.launched import Launched, launched, wait_until
from tests.integration.load import ROUTES, Visitors, bodies
from tests.served import serve

pytestmark = pytest.mark.integration

AWAY_S = 15.0
# Files of an open dataset are listed again after some seconds, later where listing is slow, and a failure is remembered for three.
SEEN_S = 30.0


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets that nobody touches: two of each kind, with other values in `new`."""
    folder = tmp_path_factory.mktemp("pristine") / "data"
    for kind in ("Xr/Xc", "0.3.0-sparse", "0.2.0-dense"):
        for seed, name in enumerate(("old", "new")):
            cxgs.build(folder / f"{kind.replace('/', '-')}.{name}", kind=kind, n_obs=60, n_var=40, seed=seed)
    return folder


@pytest.fixture(scope="module")
def right(pristine: Path) -> Callable[[str], dict[str, bytes]]:
    """Right answers about a dataset of `pristine`, from an application of its own."""
    client = serve(pristine, pristine.parent / "client")
    return lambda name: bodies(client, name)


@pytest.fixture
def dataroot(pristine: Path, tmp_path: Path) -> Path:
    """A dataroot to break: a dataset of every kind."""
    for source in pristine.glob("*.old"):
        shutil.copytree(source, tmp_path / "data" / f"{source.stem}.cxg")
    return tmp_path / "data"


@pytest.fixture
def server(dataroot: Path, tmp_path: Path) -> Iterator[Launched]:
    with launched(tmp_path / "server", str(dataroot), environment={"CXG_WORKERS": "2"}) as running:
        yield running


def test_a_killed_worker_is_replaced_and_the_others_go_on(server: Launched, right: Any) -> None:
    master = server.process.pid
    visitors = Visitors(server, "Xr-Xc.cxg", [right("Xr-Xc.old")])
    killed = 0
    with visitors.asking(threads=6):
        for _ in range(3):
            time.sleep(0.7)
            before = server.workers()
            os.kill(before[0], signal.SIGKILL)
            killed += 1
            wait_until(
                lambda before=before: len(server.workers()) == 2 and before[0] not in server.workers(), 10, server
            )
        time.sleep(1)
    assert visitors.wrong == []
    assert set(visitors.statuses) == {200}
    assert visitors.statuses.total() > 200
    # Only what the killed one was working on, or had accepted, is lost: at most one request of each visitor.
    assert len(visitors.dropped) <= 6 * killed
    assert server.process.poll() is None
    assert server.process.pid == master
    assert "Traceback" not in server.log()


def truncate(dataset: Path) -> None:
    """Cut every data file of X in half, in place."""
    for file in dataset.glob("X*/**/*.tdb"):
        with file.open("r+b") as data:
            data.truncate(file.stat().st_size // 2)


def remove_files(dataset: Path) -> None:
    """Remove the data of X but leave what announces it."""
    for file in dataset.glob("X*/**/*.tdb"):
        file.unlink()


def overwrite(dataset: Path) -> None:
    """Fill the metadata of fragments with rubbish of the same size."""
    for file in dataset.glob("X*/**/__fragment_metadata.tdb"):
        file.write_bytes(b"\xa5" * file.stat().st_size)


def remove_obs(dataset: Path) -> None:
    shutil.rmtree(dataset / "obs")


def remove_all(dataset: Path) -> None:
    shutil.rmtree(dataset)


OF_X = (truncate, remove_files, overwrite)
DAMAGES = [("Xr-Xc", (*OF_X, remove_obs, remove_all)), ("0.3.0-sparse", OF_X), ("0.2.0-dense", OF_X)]


@pytest.mark.parametrize("kind, damages", DAMAGES)
def test_damaged_and_replaced_under_load(
    server: Launched, dataroot: Path, pristine: Path, right: Any, kind: str, damages: tuple[Callable[[Path], None], ...]
) -> None:
    victim, other = dataroot / f"{kind}.cxg", next(path for path in sorted(dataroot.iterdir()) if path.stem != kind)
    versions = {name: right(f"{kind}.{name}") for name in ("old", "new")}
    victims = Visitors(server, victim.name, list(versions.values()), fresh=True)
    bystanders = Visitors(server, other.name, [right(f"{other.stem}.old")], fresh=True)
    workers = server.workers()
    genes = [f"/d/{victim.name}/{API}{route}" for route in ROUTES if route.startswith("data/")]

    def statuses() -> set[int]:
        return {server.get(path).status_code for path in genes}

    with victims.asking(threads=3), bystanders.asking(threads=2):
        for damage, version in zip(damages, itertools.cycle(("new", "old"))):
            time.sleep(0.5)
            damage(victim)
            # Every gene fails, and says so.
            wait_until(lambda: statuses() <= {400, 404}, SEEN_S, server)
            replace(pristine / f"{kind}.{version}", victim)
            wait_until(lambda: statuses() == {200}, SEEN_S, server)
        # Swapped while it is well.
        for version in ("old", "new") * 2:
            replace(pristine / f"{kind}.{version}", victim)
            time.sleep(0.5)
        # Listing its files is dear on a busy machine, and then happens less often.
        for route in ROUTES[:-1]:
            path, expected = f"/d/{victim.name}/{API}{route}", versions["new"][route]
            wait_until(
                lambda path=path, expected=expected: {server.get(path).content for _ in range(4)} == {expected},
                SEEN_S,
                server,
            )
    assert victims.wrong == []
    assert victims.dropped == []
    assert {200, 400} <= set(victims.statuses)
    assert (bystanders.wrong, bystanders.dropped, set(bystanders.statuses)) == ([], [], {200})
    assert server.workers() == workers
    assert "Traceback" not in server.log()


def replace(source: Path, target: Path) -> None:
    """Put a copy of a dataset in the place of another, as `mv` does."""
    beside = target.with_name(".incoming")
    shutil.copytree(source, beside)
    if target.exists():
        target.rename(target.with_name(".outgoing"))
    beside.rename(target)
    shutil.rmtree(target.with_name(".outgoing"), ignore_errors=True)


@pytest.fixture(scope="module")
def store(pristine: Path) -> Iterator[minio.Store]:
    with minio.running() as running:
        running.client().create_bucket(Bucket="datasets")
        for source in pristine.glob("*.old"):
            running.upload(source, "datasets", f"data/{source.stem}.cxg")
        yield running


@pytest.mark.parametrize("how", [gate.REFUSING, gate.SILENT])
def test_s3_away_and_back(store: minio.Store, right: Any, tmp_path: Path, how: str) -> None:
    with gate.running(store.url) as way:
        # One worker, so that all who ask find what was asked before.
        environment = {
            "CXG_WORKERS": "1",
            **store.environment(),
            "AWS_ENDPOINT_URL": way.url,
            "AWS_REGION": "us-east-1",
        }
        with launched(tmp_path, "s3://datasets/data", environment=environment) as server:
            away_and_back(server, way, right, how)


def away_and_back(server: Launched, way: gate.Gate, right: Any, how: str) -> None:
    known, workers = Visitors(server, "Xr-Xc.cxg", [right("Xr-Xc.old")]), server.workers()
    uncached = f"/d/0.3.0-sparse.cxg/{API}data/var?var:name_0=gene0"

    def ready() -> int:
        return server.get("/health/ready").status_code

    with requests.Session() as session:
        for route in ROUTES:
            known.ask(session, route)
    assert known.statuses == {200: len(ROUTES)}
    assert ready() == 200
    with known.asking(threads=2, pause_s=0.05), ThreadPoolExecutor(1) as background:
        way.shut(how)
        shut = time.monotonic()
        asked = background.submit(server.get, uncached)
        wait_until(lambda: ready() == 503, 10, server)
        if how == gate.REFUSING:
            answer = asked.result(10)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            assert answer.json()["message"].endswith(".")
        assert server.get("/health/live").elapsed.total_seconds() < 1
        time.sleep(max(0.0, AWAY_S - (time.monotonic() - shut)))
        assert ready() == 503
        way.open()
        wait_until(lambda: {ready() for _ in range(4)} == {200}, 20, server)
        wait_until(lambda: server.get(uncached).status_code == 200, 20, server)
        # Whoever asked meanwhile may have been answered only now.
        assert asked.result(60).status_code in (200, 503)
    for answer in (server.get(uncached), asked.result()):
        assert answer.status_code == 503 or answer.content == right("0.3.0-sparse.old")["data/var?var:name_0=gene0"]
    print(f"{how}: {dict(known.statuses)}, slowest {known.slowest_s:.1f} s", end=" ")
    assert known.wrong == []
    assert known.dropped == []
    # What is open is served from memory: nobody waits for the store.
    assert known.slowest_s < 5
    assert set(known.statuses) <= {200, 503}
    assert known.statuses[200] > 10 * known.statuses[503]
    assert server.workers() == workers
    assert "Traceback" not in server.log()
