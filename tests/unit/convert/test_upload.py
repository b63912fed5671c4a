"""Upload order: no reader of the bucket ever opens half a dataset, or a mixture of two.

A dictionary stands for the bucket here, so that it can be looked at after every single request; the same
code meets a real S3-compatible server in tests/integration.
"""

import threading
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from cxg.convert.publish import bucket as upload
from cxg.convert.publish.bucket import Bucket, stages
from cxg.errors import ConversionError
from tests.unit.convert.h5ads import make_h5ad

URI = "s3://bucket/data/x.cxg"
PREFIX = "data/x.cxg/"


class FakeS3:
    """Objects by key; calls `watch` with the keys after each change."""

    def __init__(self):
        self.objects = {}
        self.history = []
        self.fail_at = None
        self._lock = threading.Lock()

    def get_paginator(self, name):
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix):
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        half = len(keys) // 2
        return [
            {"Contents": [{"Key": key} for key in keys[:half]]},
            {"Contents": [{"Key": key} for key in keys[half:]]},
            {},
        ]

    def upload_file(self, path, bucket, key, Config):
        with self._lock:
            if self.fail_at is not None and len(self.history) >= self.fail_at:
                raise ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "PutObject")
            self.objects[key] = Path(path).read_bytes()
            self.history.append(frozenset(self.objects))

    def delete_objects(self, Bucket, Delete):
        for item in Delete["Objects"]:
            self.objects.pop(item["Key"], None)
            self.history.append(frozenset(self.objects))
        return {}


@pytest.fixture
def s3(monkeypatch):
    fake = FakeS3()
    monkeypatch.setattr(upload, "s3_client", lambda: fake)
    return fake


def check_visibility(history, complete):
    """obs can be opened, and the folder is a group, only while everything else is there."""
    for keys in history:
        present = {key.removeprefix(PREFIX) for key in keys if key.startswith(PREFIX)}
        if any(key.startswith("obs/__schema/") for key in present) or "__tiledb_group.tdb" in present:
            assert present >= {key for key in complete if "__tiledb_group" not in key}
        for key in present:
            array, _, rest = key.partition("/__schema/")
            if rest:
                assert {k for k in complete if k.startswith(array + "/__fragments/")} <= present


def test_new_dataset(tmp_path, convert, s3):
    assert convert(make_h5ad(tmp_path / "in.h5ad"), URI)[0] == 0
    assert convert(tmp_path / "in.h5ad", tmp_path / "local.cxg")[0] == 0
    found = {key.removeprefix(PREFIX) for key in s3.objects}
    assert "__tiledb_group.tdb" in found
    local = {
        path.relative_to(tmp_path / "local.cxg").as_posix()
        for path in (tmp_path / "local.cxg").rglob("*")
        if path.is_file()
    }
    assert sorted(map(without_stamp, found)) == sorted(map(without_stamp, local))
    check_visibility(s3.history, found)
    assert s3.history[-1] - s3.history[-2] <= {PREFIX + "__tiledb_group.tdb", PREFIX + "emb/__tiledb_group.tdb"}


def without_stamp(key):
    """A key without the times and random parts that TileDB puts into names."""
    return "/".join("stamp" if part.startswith("__1") else part for part in key.split("/"))


def test_overwrite_takes_the_old_down_first(tmp_path, convert, s3):
    path = make_h5ad(tmp_path / "in.h5ad")
    assert convert(path, URI)[0] == 0
    old = {key.removeprefix(PREFIX) for key in s3.objects}
    s3.history.clear()
    assert convert(path, URI)[0] == 2
    assert s3.history == []
    assert convert(path, URI, "--overwrite")[0] == 0
    new = {key.removeprefix(PREFIX) for key in s3.objects}
    stamped_old = old - new
    assert stamped_old
    assert new - old
    for keys in s3.history:
        names = {key.removeprefix(PREFIX) for key in keys}
        assert not (names & stamped_old and names & (new - old))
    down = [keys for keys in s3.history if {k.removeprefix(PREFIX) for k in keys} & stamped_old]
    check_visibility(down, old)
    check_visibility(s3.history[len(down) :], new)


@pytest.mark.parametrize("fail_at", [0, 3, 20, 40])
def test_failed_upload_leaves_nothing(tmp_path, convert, s3, capsys, fail_at):
    s3.fail_at = fail_at
    assert convert(make_h5ad(tmp_path / "in.h5ad"), URI)[0] == 2
    assert "SlowDown" in capsys.readouterr().err
    assert s3.objects == {}


def test_what_lies_beside_is_not_touched(tmp_path, convert, s3):
    s3.objects = {"data/x.cxg2/obs": b"", "data/other": b"", "data/x.cxg": b""}
    path = make_h5ad(tmp_path / "in.h5ad")
    assert convert(path, URI)[0] == 0
    assert convert(path, URI + "/", "--overwrite")[0] == 0
    assert {"data/x.cxg2/obs", "data/other", "data/x.cxg"} <= set(s3.objects)


@pytest.mark.parametrize("names", [["thesis.docx"], ["thesis.docx", "var/log"], ["var/log"], ["obs/.zgroup"]])
def test_overwrite_refuses_what_is_no_cxg(tmp_path, convert, s3, capsys, names):
    mine = {PREFIX + name: b"mine" for name in names}
    s3.objects = dict(mine)
    path = make_h5ad(tmp_path / "in.h5ad")
    assert convert(path, URI)[0] == 2
    assert f"holds {len(names)} objects already" in capsys.readouterr().err
    assert convert(path, URI, "--overwrite")[0] == 2
    assert "is not a CXG" in capsys.readouterr().err
    assert s3.objects == mine


def test_overwrite_replaces_what_a_killed_upload_left(tmp_path, convert, s3):
    """Whichever file was the last to arrive."""
    path = make_h5ad(tmp_path / "in.h5ad")
    assert convert(path, URI)[0] == 0
    uploads = list(s3.history)
    for keys in uploads:
        s3.objects = dict.fromkeys(keys, b"")
        Bucket(URI).check_target(overwrite=True)
    s3.objects = {PREFIX + "X_totals/__fragments/f/a0.tdb": b""}
    assert convert(path, URI, "--overwrite")[0] == 0


def test_a_cxg_with_things_of_others_in_it_is_replaced(s3):
    s3.objects = {PREFIX + "obs/__schema/s": b"", PREFIX + "some-user/annotations.csv": b""}
    Bucket(URI).check_target(overwrite=True)


def test_refused_deletion_stops(tmp_path, s3, monkeypatch):
    s3.objects = {PREFIX + "obs/__schema/x": b""}
    monkeypatch.setattr(s3, "delete_objects", lambda **_: {"Errors": [{"Code": "AccessDenied"}]})
    (tmp_path / "root").mkdir()
    with pytest.raises(ConversionError, match="AccessDenied"):
        Bucket(URI).publish(tmp_path / "root", overwrite=True, step=lambda *_: None)
    assert s3.objects


def test_stages():
    keys = [
        "__tiledb_group.tdb", "obs/__schema/s", "var/__schema/s", "obs/__fragments/f/a0.tdb", "obs/__commits/f.wrt",
        "emb/__tiledb_group.tdb", "emb/umap/__schema/s", "obs/__meta/m", "old/__f/a.tdb", "old/__f.ok", "old/__array_schema.tdb",
    ]  # fmt: skip
    assert stages(keys) == [
        ["obs/__fragments/f/a0.tdb", "obs/__meta/m", "old/__f/a.tdb"],
        ["obs/__commits/f.wrt", "old/__f.ok"],
        ["emb/umap/__schema/s", "old/__array_schema.tdb", "var/__schema/s"],
        ["obs/__schema/s"],
        ["__tiledb_group.tdb", "emb/__tiledb_group.tdb"],
    ]
