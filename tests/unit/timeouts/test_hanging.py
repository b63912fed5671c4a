"""Datasets whose files hang: a named pipe in the place of a file stands in for a mount that does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.cli.main import main as cxg
from cxg.datasets.opening import Times
from cxg.startup.gunicorn import gunicorn_command
from cxg.storage import storage as storage_module
from cxg.timeouts.calls import CallLimits, timed_calls
from tests import cxgs
from tests.served import serve, stand_in_client

GENE = "api/v0.2/data/var?var:name_0=gene"
ROUTES = (
    *("", "thumbnail.png", "api/v0.2/schema", "api/v0.2/config", "api/v0.2/colors", "api/v0.2/genesets", f"{GENE}1"),
    *(
        "api/v0.2/annotations/obs",
        "api/v0.2/annotations/var",
        "api/v0.2/layout/obs",
        "api/v0.2/summarize/var?var:name_0=gene1",
    ),
)
# Where the pipe is made -> statuses of the gene, the layout and the annotations; 400 says why.
PLACES = {
    "new.fifo": (200, 200, 200),
    "obs/new.fifo": (400, 400, 400),
    "obs/__fragments/new.fifo": (200, 200, 200),
    "obs/__schema/new": (400, 400, 400),
    "obs/__schema/__*": (400, 400, 400),
    "obs/__meta/new": (400, 400, 400),
    "obs/__commits/new.con": (400, 400, 400),
    "obs/__fragments/*/__fragment_metadata.tdb": (400, 400, 400),
    "obs/__fragments/*/a0.tdb": (400, 400, 400),
    "var/__fragments/*/new": (400, 400, 400),
    "Xc/__schema/new": (400, 200, 200),
    "Xr/__fragments/*/d0.tdb": (400, 200, 200),
    "Xc/__commits/*.wrt": (400, 200, 200),
    "emb/umap/__schema/new": (200, 200, 200),
    "emb/new.fifo": (200, 200, 200),
    "emb/new": (200, 200, 200),
    "X_totals/__meta/*": (200, 200, 200),
    "cxg_group_metadata/__meta/*": (200, 200, 200),
    "cxg_group_metadata/__schema/new": (200, 200, 200),
    "__tiledb_group.tdb": (200, 200, 200),
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_calls, "limits", CallLimits(slow_s=0.3, limit_s=1.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    for number, name in enumerate(("a.cxg", "b.cxg")):
        cxgs.build(path / name, n_obs=40, n_var=6, seed=number, totals=True)
    return path


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[FlaskClient]:
    yield serve(folder, tmp_path / "client", times=Times(failure_s=0.0))
    left = timed_calls.stuck
    for pipe in folder.rglob("*"):
        if left and pipe.is_fifo():
            let_go(pipe)
    assert not left, "a test left calls that hang"


def make_pipe(dataset: Path, place: str) -> Path:
    """A named pipe in the place of a file of a dataset, or beside them."""
    found = [path for path in sorted(dataset.glob(place)) if path.is_file()]
    path = found[0] if found else next(dataset.parent.glob(f"{dataset.name}/{Path(place).parent}")) / Path(place).name
    if found:
        path.unlink()
    os.mkfifo(path)
    return path


def let_go(pipe: Path) -> None:
    """End all that wait for a pipe: they find it empty."""
    until = time.monotonic() + 10
    while timed_calls.stuck and time.monotonic() < until:
        with contextlib.suppress(OSError):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        time.sleep(0.005)


@pytest.mark.parametrize("place", PLACES)
def test_a_pipe_in_a_dataset_is_never_opened(client: FlaskClient, folder: Path, place: str) -> None:
    make_pipe(folder / "a.cxg", place)
    gene, layout, annotations = PLACES[place]
    statuses = {route: client.get(f"/d/a.cxg/{route}").status_code for route in ROUTES}
    assert statuses[f"{GENE}1"] == gene, statuses
    assert statuses["api/v0.2/layout/obs"] == layout, statuses
    assert statuses["api/v0.2/annotations/obs"] == annotations, statuses
    assert set(statuses.values()) <= {200, 400, 404}
    assert compare(client, "a.cxg") == gene
    assert client.get("/").status_code == 200
    assert not timed_calls.stuck
    if 400 in (gene, layout):
        assert "not a regular file" in client.get(f"/d/a.cxg/{GENE}2").text


@pytest.mark.parametrize(
    "place", ["obs/__schema/new", "Xc/__schema/new", "emb/umap/__schema/new", "X_totals/__meta/*", "new.fifo"]
)
def test_the_commands_do_not_open_a_pipe_either(folder: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_pipe(folder / "a.cxg", place)
    code = cxg(["inspect", str(folder / "a.cxg"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["ok"] else 1)
    if PLACES[place][0] == 400:
        assert "not a regular file" in json.dumps(found["findings"])
    assert not timed_calls.stuck


def test_links_to_pipes_and_devices_are_not_opened_either(client: FlaskClient, folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (folder / "a.cxg/obs/__schema/link").symlink_to(tmp_path / "pipe")
    (folder / "b.cxg/Xc/__schema/link").symlink_to("/dev/zero")
    os.mkfifo(folder / "c.cxg")
    assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 400
    assert client.get(f"/d/b.cxg/{GENE}1").status_code == 400
    assert client.get("/d/b.cxg/api/v0.2/schema").status_code == 200
    assert client.get("/d/c.cxg/api/v0.2/schema").status_code == 404
    assert "c.cxg" not in client.get("/").text


def test_a_socket_that_is_put_into_an_open_dataset_is_detected(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 200
    client.application.extensions["cxg"].catalog.recheck("a.cxg")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder / "a.cxg/obs/__meta")  # the path of a socket is short
        listener.bind("s")
        assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 400
    Path("s").unlink()
    assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 200


def compare(client: FlaskClient, name: str) -> int:
    sets = {key: {"filter": {"obs": {"index": cells}}} for key, cells in (("set1", [0, 1]), ("set2", [2, 3]))}
    body = {"mode": "topN", "count": 5, **sets}
    return client.post(f"/d/{name}/api/v0.2/diffexp/obs", json=body).status_code


def check_503(status: int, headers: object) -> None:
    assert status == 503
    assert headers["Retry-After"] == "5"  # type: ignore[index]


@pytest.mark.parametrize("where", ["Xc/__schema/__*", "Xc/__fragments/*/a0.tdb", "emb/umap/__fragments/*/a0.tdb"])
def test_a_hanging_dataset_is_reported_and_others_are_answered(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    # A pipe has no length, which would be told before anybody opens it.
    monkeypatch.setattr(storage_module, "check_files", lambda folder: {})
    assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 200
    assert client.get("/d/b.cxg/api/v0.2/schema").status_code == 200
    # As a mount would begin to hang: the listing shows files.
    seen = storage_module.list_folder(str(folder / "a.cxg"))
    list_folder = storage_module.list_folder
    monkeypatch.setattr(storage_module, "list_folder", lambda path: seen if "a.cxg" in path else list_folder(path))
    pipe = make_pipe(folder / "a.cxg", where)
    app = client.application
    hangs = f"{GENE}%d" if where.startswith("X") else "api/v0.2/layout/obs?layout-name=umap&n=%d"

    def ask(number: int) -> tuple[int, object]:  # of genes that have values, since others need no values read
        answer = app.test_client().get(f"/d/a.cxg/{hangs % (0, 2, 3, 4, 5)[number % 5]}")
        return answer.status_code, answer.headers

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, number) for number in range(12)]
        for number in range(3):
            assert client.get(f"/d/b.cxg/{GENE}{number}").status_code == 200
            assert compare(client, "b.cxg") == 200
            assert client.get("/health").status_code == 200
        for one in asked:
            check_503(*one.result())
    check_503(*ask(1))
    assert 1 <= timed_calls.stuck <= 12
    assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 200
    assert client.get("/d/a.cxg/api/v0.2/annotations/var").status_code == 503
    # What a call that hangs reads must not be closed under it, or the process ends when it comes back.
    app.extensions["cxg"].catalog.close()
    let_go(pipe)
    assert not timed_calls.stuck
    assert client.get("/d/a.cxg/api/v0.2/annotations/var").status_code == 200


def test_a_dataset_that_hangs_while_it_is_opened(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, list_folder = threading.Event(), storage_module.list_folder

    def hang(path: str) -> object:
        assert "a.cxg" not in path or go.wait(30)
        return list_folder(path)

    monkeypatch.setattr(storage_module, "list_folder", hang)
    app = client.application
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(app.test_client().get, f"/d/a.cxg/{route}") for route in ROUTES]
        assert client.get(f"/d/b.cxg/{GENE}1").status_code == 200
        page = client.get("/").text
        for one in asked:
            check_503(one.result().status_code, one.result().headers)
    assert "b.cxg" in page
    assert timed_calls.stuck <= 2
    assert "not answered" in client.get("/d/a.cxg/").text
    go.set()
    while timed_calls.stuck:
        time.sleep(0.001)
    assert client.get(f"/d/a.cxg/{GENE}1").status_code == 200


def test_an_open_dataset_is_served_after_its_files_cannot_be_listed(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get(f"/d/a.cxg/{GENE}1").status_code == 200
    go, list_folder = threading.Event(), storage_module.list_folder
    monkeypatch.setattr(storage_module, "list_folder", lambda path: (go.wait(30), list_folder(path))[1])
    for _ in range(3):
        client.application.extensions["cxg"].catalog.recheck("a.cxg")
        assert client.get(f"/d/a.cxg/{GENE}1").status_code == 200
    go.set()
    while timed_calls.stuck:
        time.sleep(0.001)


def test_a_hanging_dataroot_is_reported(client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, scandir = threading.Event(), os.scandir

    def hang(path: object) -> object:
        assert path != str(folder) or go.wait(30)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", hang)
    answer = client.get("/")
    check_503(answer.status_code, answer.headers)
    assert client.get("/health/live").status_code == 200
    assert client.get("/health").status_code == 503
    go.set()
    while timed_calls.stuck:
        time.sleep(0.001)


HANGS = """
import os, sys, threading
from cxg.timeouts.calls import CallLimits, timed_calls
from cxg.storage import storage
timed_calls.limits = CallLimits(slow_s=0.1, limit_s=1.0)
os.mkfifo(sys.argv[1])
pipe, list_folder = sys.argv.pop(1), storage.list_folder
storage.list_folder = lambda path: os.open(pipe, os.O_RDONLY) if "a.cxg" in path else list_folder(path)
"""


@pytest.mark.parametrize(
    "command, code",
    [(("inspect", "a.cxg"), 2), (("doctor", "--config", "config.yaml"), 1)],
    ids=["inspect", "doctor"],
)
def test_a_command_ends_with_a_sentence(folder: Path, tmp_path: Path, command: tuple[str, ...], code: int) -> None:
    (folder / "config.yaml").write_text(f"multi_dataset:\n  dataroot: {folder}\n")
    program = f"{HANGS}\nfrom cxg.cli.main import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "pipe"), *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "has not answered" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_ends_although_a_call_hangs(folder: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = f"{HANGS}\nfrom gunicorn.app.wsgiapp import run\nsys.exit(run())"
    command = gunicorn_command("127.0.0.1", port, 1, 8)[3:]
    env = {**os.environ, "PYTHONPATH": str(Path.cwd()), "CXG_DATAROOT": str(folder)}
    env |= {"CXG_CLIENT_DIR": str(stand_in_client(tmp_path / "client")), "CXG_CACHE_MB": "0"}
    server = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "pipe"), *command], env=env)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/health/live")
        for route in ROUTES[:4]:
            with pytest.raises(urllib.error.HTTPError) as failure:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/d/a.cxg/{route}", timeout=30)
            check_503(failure.value.code, failure.value.headers)
            failure.value.close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/d/b.cxg/{GENE}1", timeout=30) as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        # Less than the grace after which gunicorn would kill it.
        assert server.wait(15) == 0
    finally:
        server.kill()
        server.wait()


def wait_for_server(url: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return
