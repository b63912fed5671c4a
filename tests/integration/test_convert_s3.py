"""`cxg convert` straight into a bucket of a real S3-compatible server, and `cxg inspect` of it there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiledb

from cxg.cli.main import main
from tests.integration import minio
from tests.unit.convert.h5ads import default_matrix, make_h5ad

pytestmark = pytest.mark.integration
BUCKET = "converted"


@pytest.fixture(scope="module")
def store() -> Iterator[minio.Store]:
    with minio.running() as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture(autouse=True)
def environment(store, monkeypatch):
    for name, value in {**store.environment(), "AWS_ENDPOINT_URL": store.url, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)


def keys(store: minio.Store, prefix: str) -> set[str]:
    pages = store.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return {item["Key"] for page in pages for item in page.get("Contents", ())}


def read_x(store: minio.Store, name: str) -> np.ndarray:
    settings = {
        "vfs.s3.endpoint_override": store.url.removeprefix("http://"),
        "vfs.s3.scheme": "http",
        "vfs.s3.use_virtual_addressing": "false",
        "vfs.s3.region": "us-east-1",
    }
    with tiledb.open(f"s3://{BUCKET}/{name}/Xr", ctx=tiledb.Ctx(settings)) as array:
        entries = array[:]
    dense = np.zeros((6, 4), np.float32)
    dense[entries["obs"], entries["var"]] = entries[""]
    return dense


def test_convert_inspect_overwrite(store, tmp_path: Path, capsys):
    target = f"s3://{BUCKET}/some/prefix/x.cxg"
    path = make_h5ad(tmp_path / "in.h5ad")
    assert main(["convert", str(path), target]) == 0
    np.testing.assert_array_equal(read_x(store, "some/prefix/x.cxg"), default_matrix())
    capsys.readouterr()
    assert main(["inspect", target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []
    first = keys(store, "some/prefix/x.cxg/")

    assert main(["convert", str(path), target]) == 2
    assert "holds" in capsys.readouterr().err
    assert keys(store, "some/prefix/x.cxg/") == first

    make_h5ad(path, default_matrix() * 3)
    assert main(["convert", str(path), target, "--overwrite"]) == 0
    np.testing.assert_array_equal(read_x(store, "some/prefix/x.cxg"), default_matrix() * 3)
    assert not {key for key in keys(store, "some/prefix/x.cxg/") & first if "__fragments" in key}


def test_large_objects_go_up_in_parts(store, tmp_path: Path):
    noise = np.random.default_rng(0).normal(size=(4000, 1200)).astype(np.float32)
    assert main(["convert", str(make_h5ad(tmp_path / "in.h5ad", noise)), f"s3://{BUCKET}/large.cxg"]) == 0
    head = store.client().head_object
    sizes = {key: head(Bucket=BUCKET, Key=key) for key in keys(store, "large.cxg/Xr/") if key.endswith("a0.tdb")}
    assert all(answer["ContentLength"] > 16 << 20 and "-" in answer["ETag"] for answer in sizes.values())
    assert sizes


@pytest.mark.parametrize(
    "target,sentence",
    [(f"s3://no-{BUCKET}/x.cxg", "NoSuchBucket"), (f"s3://{BUCKET}", "is not a place for a dataset")],
)
def test_refusals(tmp_path: Path, capsys, target, sentence):
    assert main(["convert", str(make_h5ad(tmp_path / "in.h5ad")), target]) == 2
    assert sentence in capsys.readouterr().err


def test_store_that_is_away(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert main(["convert", str(make_h5ad(tmp_path / "in.h5ad")), f"s3://{BUCKET}/x.cxg"]) == 2
    assert "Could not connect" in capsys.readouterr().err
