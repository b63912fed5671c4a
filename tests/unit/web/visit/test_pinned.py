"""The modules know one build of the client: the one that `make client` fetches."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from assembly.client import CELLXGENE
from cxg.web.visit import pinned

BUILT = Path(__file__).resolve().parents[4] / "build" / "client"


def test_the_version_is_that_of_the_build() -> None:
    assert CELLXGENE.version == pinned.VERSION


def test_the_script_is_that_of_the_published_client() -> None:
    stamp = BUILT / "stamp.json"
    if not stamp.is_file():
        pytest.skip("build/client is missing: run 'make client'.")
    found = json.loads(stamp.read_text())
    if found["source"]["kind"] != "published":
        pytest.skip("build/client holds another client.")
    assert found["source"]["sha256"] == CELLXGENE.sha256
    assert found["files"][f"static/{pinned.SCRIPT}"] == pinned.SCRIPT_SHA256
    assert pinned.client_version(BUILT / "static") == pinned.VERSION


def test_a_changed_script_is_unknown(tmp_path: Path) -> None:
    assert pinned.client_version(tmp_path) is None
    (tmp_path / pinned.SCRIPT).write_text("// the same name, other content")
    assert hashlib.sha256((tmp_path / pinned.SCRIPT).read_bytes()).hexdigest() != pinned.SCRIPT_SHA256
    assert pinned.client_version(tmp_path) is None
