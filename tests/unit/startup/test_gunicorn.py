"""gunicorn's command line and environment, and what is not loaded before it answers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxg.config import default
from cxg.config.files import load_config
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.memory import MemoryPlan
from cxg.startup.gunicorn import gunicorn_command, server_environment
from cxg.startup.prepared import Data, Prepared
from cxg.startup.secret_key import SecretKey
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


def prepared(**changed: Any) -> Prepared:
    """A deployment that serves /data, on which nothing else was found."""
    return dataclasses.replace(
        Prepared(default(), Runtime(), Data("/data", "CXG_DATAROOT", "CXG_DATAROOT"), "/data"), **changed
    )


def test_the_environment() -> None:
    given = {"PATH": "/bin", "CXG_WORKERS": "many", "OMP_NUM_THREADS": "3"}
    found = server_environment(given, prepared(), PLAN)
    assert given == {"PATH": "/bin", "CXG_WORKERS": "many", "OMP_NUM_THREADS": "3"}
    assert {name: found[name] for name in ("CXG_MEMORY_MB", "CXG_WORKERS", "CXG_THREADS")} == {
        "CXG_MEMORY_MB": "4096",
        "CXG_WORKERS": "2",
        "CXG_THREADS": "8",
    }
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["OPENBLAS_NUM_THREADS"] == "1"
    assert found["PATH"] == "/bin"


def test_what_is_prepared_is_read_back_from_the_environment(tmp_path: Path) -> None:
    """The worker process knows what the start found out, and no way to the secret."""
    file = tmp_path / "config.yaml"
    file.write_text("multi_dataset: {dataroot: 'lustre://fs@tcp:/abcdefgh', base_url: site}\n")
    given = {"AWS_REGION": "us-east-1", "CXG_AWS_SECRET_NAME": "site", "CXG_SECRET_KEY": "other", "CXG_CACHE_MB": "7"}
    found = server_environment(
        given,
        prepared(
            path="/mnt/cxg/atlas", config_file=str(file), secret=SecretKey("k" * 32, "AWS"), region="eu-central-1"
        ),
        PLAN,
    )
    runtime = Runtime.of(found)
    config = load_config(runtime)
    assert (config.multi_dataset.dataroot, config.multi_dataset.base_url) == ("/mnt/cxg/atlas", "site")
    assert (runtime.secret_key, runtime.secret_name, runtime.aws.region) == ("k" * 32, None, "eu-central-1")
    assert (runtime.memory_mb, runtime.workers, runtime.threads, runtime.cache_mb) == (4096, 2, 8, 7)
    assert "CXG_AWS_SECRET_NAME" not in found


def test_what_is_not_found_stays_as_it_was() -> None:
    given = {"AWS_REGION": "us-east-1", "CXG_SECRET_KEY": "other", "CXG_CONFIG_FILE": "s3://conf/site.yaml"}
    found = server_environment(given, prepared(), PLAN)
    assert (found["AWS_REGION"], found["CXG_SECRET_KEY"]) == ("us-east-1", "other")
    assert "CXG_CONFIG_FILE" not in found


def test_the_configuration_of_the_environment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {port: 5001}\nuser_annotations: {enable: true}\n")
    config = load_config(Runtime.of({"CXG_CONFIG_FILE": str(file), "CXG_PORT": "5002", "CXG_DATAROOT": "/data"}))
    assert (config.server.port, config.multi_dataset.dataroot) == (5002, "/data")
    assert "user_annotations" in caplog.text
    assert load_config(Runtime.of({})).server.port == 5005


@pytest.mark.parametrize("content", [None, "server: {prot: 1}", "\t", "- a"])
def test_a_configuration_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_config(Runtime.of({"CXG_CONFIG_FILE": str(file)}))


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
