"""gunicorn's command line and environment, and what is not loaded before it answers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxg.config.files import load_config
from cxg.errors import ConfigError
from cxg.memory import MemoryPlan
from cxg.startup.gunicorn import gunicorn_command, server_environment
from tests import cxgs
from tests.served import stand_in_client

PLAN = MemoryPlan(total_mb=4096, workers=2, threads=8, answers_mb=300)
HEAVY = ("scipy", "pandas", "anndata", "numba", "boto3", "botocore", "h5py", "PIL", "matplotlib", "rich", "docker")
START = """
import json, os, sys
from cxg.web.wsgi import app
loaded = sorted({name.partition(".")[0] for name in sys.modules})
contexts = app.extensions["cxg"].catalog.storage.contexts.are_made
threads = __import__("threading").active_count()
answer = app.test_client().get("/d/a.cxg/api/v0.2/schema")
print(json.dumps([loaded, contexts, threads, answer.status_code]))
"""


def test_the_command() -> None:
    command = gunicorn_command("0.0.0.0", 8000, 2, 8)
    assert command[:4] == [sys.executable, "-m", "gunicorn", "cxg.web.wsgi:app"]
    options = dict(itertools.pairwise(command))
    assert options["--bind"] == "0.0.0.0:8000"
    assert (options["--workers"], options["--threads"], options["--worker-class"]) == (
        "2",
        "8",
        "cxg.worker.BufferingWorker",
    )
    assert "--preload" in command
    # Anyone could otherwise choose where the application believes it is, by a header.
    assert options["--forwarder-headers"] == ""
    # A load balancer keeps connections for 60 s; the server's must outlive them.
    assert int(options["--keep-alive"]) > 60
    assert int(options["--graceful-timeout"]) < 30
    assert "[::1]:80" in gunicorn_command("::1", 80, 1, 1)


def test_the_environment() -> None:
    given = {"PATH": "/bin", "CXG_WORKERS": "many", "OMP_NUM_THREADS": "3"}
    found = server_environment(given, PLAN)
    assert given == {"PATH": "/bin", "CXG_WORKERS": "many", "OMP_NUM_THREADS": "3"}
    assert {name: found[name] for name in ("CXG_MEMORY_MB", "CXG_WORKERS", "CXG_THREADS")} == {
        "CXG_MEMORY_MB": "4096",
        "CXG_WORKERS": "2",
        "CXG_THREADS": "8",
    }
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["OPENBLAS_NUM_THREADS"] == "1"
    assert found["PATH"] == "/bin"


def test_the_configuration_of_the_environment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {port: 5001}\nuser_annotations: {enable: true}\n")
    config = load_config({"CXG_CONFIG_FILE": str(file), "CXG_PORT": "5002", "CXG_DATAROOT": "/data"})
    assert (config.server.port, config.multi_dataset.dataroot) == (5002, "/data")
    assert "user_annotations" in caplog.text
    assert load_config({}).server.port == 5005


@pytest.mark.parametrize("content", [None, "server: {prot: 1}", "\t", "- a"])
def test_a_configuration_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config({"CXG_CONFIG_FILE": str(file)})


def test_starting_loads_nothing_heavy_and_opens_nothing(tmp_path: Path, project: Path) -> None:
    """What is loaded and open once `cxg.web.wsgi` is imported, and that it then works."""
    cxgs.build(tmp_path / "data" / "a.cxg")
    env = {
        **os.environ,
        "PYTHONPATH": str(project),
        "CXG_DATAROOT": str(tmp_path / "data"),
        "CXG_CLIENT_DIR": str(stand_in_client(tmp_path / "client")),
    }
    done = subprocess.run(
        [sys.executable, "-c", START], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    loaded, contexts, threads, status = json.loads(done.stdout.splitlines()[-1])
    assert not set(HEAVY) & set(loaded)
    assert {"flask", "numpy", "tiledb"} <= set(loaded)
    assert contexts is False
    assert threads == 1
    assert status == 200
