"""Names lead to datasets strictly inside the dataroot; the store's errors become ours."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tiledb

from cxg.config import Config, default, load
from cxg.config.runtime import AwsEnvironment
from cxg.datasets.dataroot import Dataroot, SingleRoot, is_dataset_name
from cxg.errors import ConfigError, DatasetInvalid, DatasetNotFound, StorageUnavailable
from cxg.format.dataset import open_dataset
from cxg.storage.faults import translated
from cxg.storage.listing import from_pairs
from cxg.storage.settings import tiledb_settings
from cxg.storage.storage import Storage
from tests import cxgs


@pytest.fixture(scope="module")
def storage() -> Storage:
    return Storage(default())


@pytest.fixture
def root(tmp_path: Path, storage: Storage) -> Dataroot:
    """Datasets inside, bait beside."""
    for folder in (
        "root/a.cxg",
        "root/B.cxg",
        "root/plain/obs",
        "root/empty",
        "root/.hidden.cxg",
        "rootless/x.cxg",
        "root/sub/deep.cxg",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root" / "file.cxg").write_text("")
    links = {
        "out.cxg": "../rootless/x.cxg",
        "sibling.cxg": "../rootless",
        "up.cxg": "..",
        "self.cxg": ".",
        "loop.cxg": "loop.cxg",
        "gone.cxg": "nope",
        "etc.cxg": "/etc",
    }
    for name, target in links.items():
        (tmp_path / "root" / name).symlink_to(target)
    (tmp_path / "root" / "version.cxg").symlink_to("sub/deep.cxg")
    (tmp_path / "root" / "alias.cxg").symlink_to("a.cxg")
    return Dataroot(storage, str(tmp_path / "root"))


def test_a_name_leads_to_its_folder(root: Dataroot) -> None:
    assert root.dataset_uri("a.cxg") == f"{root.uri}/a.cxg"
    assert root.dataset_uri("plain") == f"{root.uri}/plain"
    assert root.dataset_uri("alias.cxg") == f"{root.uri}/a.cxg"
    assert root.dataset_uri("version.cxg") == f"{root.uri}/sub/deep.cxg"


BAD_NAMES = [
    *(
        "",
        ".",
        "..",
        "...",
        "/",
        "//",
        "\\",
        "a.cxg/",
        "/a.cxg",
        "./a.cxg",
        "a.cxg/obs",
        "a.cxg/..",
        "../root/a.cxg",
        "sub/deep.cxg",
    ),
    *("a.cxg\0", "\0", "a.cxg\n", "a.cxg\x7f", "nope", "A.CXG", " a.cxg", ".hidden.cxg", "static", "health", "api"),
    *(
        "file:///etc",
        "s3://bucket/a.cxg",
        "mem://a",
        "http://127.0.0.1/a",
        "/etc",
        "~",
        "$HOME",
        "*",
        "file.cxg",
        "x" * 256,
        "\udcff",
        "\ud800",
    ),
    *("out.cxg", "sibling.cxg", "up.cxg", "self.cxg", "loop.cxg", "gone.cxg", "etc.cxg"),
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_other_names_lead_nowhere(root: Dataroot, name: str) -> None:
    with pytest.raises(DatasetNotFound) as told:
        root.dataset_uri(name)
    assert str(told.value) == "There is no dataset of that name here."


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if "/" in name or "\\" in name or not name or ":" in name])
def test_no_name_leaves_an_s3_prefix(storage: Storage, name: str) -> None:
    with pytest.raises(DatasetNotFound):
        Dataroot(storage, "s3://bucket/some/prefix/").dataset_uri(name)


def test_s3_names(storage: Storage) -> None:
    assert Dataroot(storage, "s3://bucket/some where/").dataset_uri("a b.cxg") == "s3://bucket/some where/a b.cxg"


def test_length_is_counted_in_bytes() -> None:
    assert is_dataset_name("é" * 127)
    assert not is_dataset_name("é" * 128)


def test_the_dataroot_may_itself_be_a_link(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "real" / "a.cxg").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    assert Dataroot(storage, f"{tmp_path}/link/").dataset_uri("a.cxg") == f"{tmp_path}/real/a.cxg"


def test_names(root: Dataroot) -> None:
    names = root.names()
    assert {"a.cxg", "B.cxg", "plain", "alias.cxg", "version.cxg"} <= set(names)
    assert not {"empty", ".hidden.cxg", "file.cxg", "sub", "gone.cxg", "loop.cxg"} & set(names)
    assert list(names) == sorted(names, key=str.casefold)


def test_a_folder_whose_name_is_not_utf8_is_passed_over(root: Dataroot) -> None:
    Path(os.fsdecode(os.fsencode(root.uri) + b"/\xff.cxg")).mkdir()
    assert all(name.isprintable() for name in root.names())


def test_a_dataroot_that_is_not_there(tmp_path: Path, storage: Storage) -> None:
    gone = Dataroot(storage, str(tmp_path / "nope"))
    for ask in (gone.names, gone.check):
        with pytest.raises(StorageUnavailable, match="cannot be listed"):
            ask()
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        gone.dataset_uri("a.cxg")


def test_a_single_dataset(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "obs").mkdir()
    single = SingleRoot(storage, f"{tmp_path}/")
    assert single.dataset_uri("") == str(tmp_path)
    assert single.names() == ("",)
    single.check()
    with pytest.raises(DatasetNotFound):
        single.dataset_uri("a.cxg")
    with pytest.raises(StorageUnavailable):
        SingleRoot(storage, str(tmp_path / "nope")).check()


def test_listing_nothing(tmp_path: Path, storage: Storage) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nope", "file"):
        assert storage.listing(str(tmp_path / name)).entries == ()


def test_a_listing_that_fails_is_no_missing_dataset(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cxg.storage.storage.list_folder", fail)
    with pytest.raises(StorageUnavailable, match="Input/output error"):
        storage.listing(str(tmp_path))


AWAY = [
    tiledb.TileDBError(
        "S3: Error while listing with prefix 's3://b/x/' [HTTP Response Code: -1] : curlCode: 7, Could not connect to server"
    ),
    tiledb.TileDBError("S3: Cannot read 's3://b/x' [Error Type: 15] [HTTP Response Code: 403] : Access Denied"),
    tiledb.TileDBError("S3: Cannot read 's3://b/x' [HTTP Response Code: 503] : SlowDown"),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
]
DAMAGED = [
    tiledb.TileDBError("IO Error: Cannot get file size of '/data/network.cxg/a0.tdb'; No such file or directory"),
    tiledb.TileDBError("IO Error: Cannot get file size of '/data/my network.cxg/a0.tdb'; No such file or directory"),
    tiledb.TileDBError(
        "IO Error: Read exceeds file size: offset 0, nbytes 2, URI /data/the connect timeout.cxg/a0.tdb"
    ),
    tiledb.TileDBError("Array s3://bucket/forbidden/x does not exist"),
    OSError(errno.ENOENT, "No such file or directory"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
]


@pytest.mark.parametrize("error", AWAY, ids=str)
def test_the_store_is_away(error: Exception) -> None:
    sentence = r"^The storage did not answer while reading column 'a'; try again soon\.$"
    with pytest.raises(StorageUnavailable, match=sentence), translated("column 'a'"):
        raise error


@pytest.mark.parametrize("error", DAMAGED, ids=repr)
def test_the_data_is_damaged(error: Exception) -> None:
    sentence = r"^Column 'a' cannot be read: missing or damaged"
    with pytest.raises(DatasetInvalid, match=sentence), translated("column 'a'"):
        raise error


def test_too_little_memory_is_no_damage() -> None:
    sentence = r"^There is not enough memory to read column 'a' now; try again soon\.$"
    with pytest.raises(StorageUnavailable, match=sentence), translated("column 'a'"):
        raise MemoryError


def test_what_is_no_trouble_of_the_store_passes() -> None:
    with pytest.raises(ZeroDivisionError), translated("x"):
        raise ZeroDivisionError


def config(text: str) -> Config:
    return load(text, {}).config


def test_tiledb_settings() -> None:
    plain = tiledb_settings(default(), AwsEnvironment.of({}))
    assert "vfs.s3.endpoint_override" not in plain
    assert "sm.io_concurrency_level" not in plain
    s3 = config(
        "multi_dataset: {dataroot: 's3://bucket/x'}\n"
        "data_locator: {s3: {region_name: eu-west-1, endpoint_url: 'https://minio.example:9000', no_sign_request: true}}\n"
        "adaptor: {cxg_adaptor: {tiledb_ctx: {vfs.s3.max_parallel_ops: 3}}}"
    )
    found = tiledb_settings(s3, AwsEnvironment.of({"AWS_ENDPOINT_URL": "http://elsewhere"}))
    assert found["vfs.s3.region"] == "eu-west-1"
    assert (found["vfs.s3.scheme"], found["vfs.s3.endpoint_override"]) == ("https", "minio.example:9000")
    assert found["vfs.s3.no_sign_request"] == "true"
    assert found["vfs.s3.max_parallel_ops"] == "3"
    assert found["sm.io_concurrency_level"] == "16"


def test_the_endpoint_may_come_from_the_environment() -> None:
    found = tiledb_settings(
        default(), AwsEnvironment.of({"AWS_ENDPOINT_URL": "http://b", "AWS_ENDPOINT_URL_S3": "http://a:1"})
    )
    assert (found["vfs.s3.scheme"], found["vfs.s3.endpoint_override"]) == ("http", "a:1")


def test_a_setting_that_tiledb_refuses() -> None:
    with pytest.raises(ConfigError, match="tiledb_ctx"):
        tiledb_settings(
            config("adaptor: {cxg_adaptor: {tiledb_ctx: {vfs.s3.max_parallel_ops: lots}}}"), AwsEnvironment.of({})
        )


def test_too_little_memory_allowed_is_no_damage(tmp_path: Path) -> None:
    truth = cxgs.build(tmp_path / "a.cxg", n_obs=500, n_var=200)
    storage = Storage(config("adaptor: {cxg_adaptor: {tiledb_ctx: {sm.mem.total_budget: 1000}}}"))
    dataset = open_dataset(storage, str(truth.path), "a.cxg")
    with pytest.raises(DatasetInvalid, match=r"raise sm\.mem\.total_budget in adaptor\.cxg_adaptor\.tiledb_ctx"):
        dataset.read_X_columns(np.arange(200))


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("Reader: Cannot load tile offsets, increase memory budget", "takes more memory than is allowed"),
        ("Reader: Unable to copy one tile with current budget/buffers", "takes more memory than is allowed"),
        ("Cannot open file '/data/memory budget.cxg/X/a0.tdb'", "missing or damaged"),
    ],
)
def test_what_takes_too_much_memory_is_told_by_the_message_alone(text: str, sentence: str) -> None:
    with pytest.raises(DatasetInvalid, match=sentence), translated("X"):
        raise tiledb.TileDBError(text)


def test_contexts_are_made_at_first_use_and_once() -> None:
    storage = Storage(default())
    assert not storage.contexts.are_made
    assert storage.column_ctx is storage.column_ctx
    assert storage.row_ctx is not storage.column_ctx
    assert storage.column_ctx.config()["vfs.min_batch_size"] == str(256 * 1024)
    # What the memory plan counts with; general settings must not win over it.
    assert storage.column_ctx.config()["sm.mem.total_budget"] == str(32 << 20)
    assert storage.row_ctx.config()["sm.mem.total_budget"] == str(32 << 20)


def test_equal_buckets_of_two_stores_are_two_places():
    listing = from_pairs([("obs/a0.tdb", 10)])
    stores = [
        Storage(load(f"data_locator: {{s3: {{endpoint_url: 'http://{name}:9000'}}}}", {}).config) for name in "ab"
    ]
    one, other = (store.identity("s3://bucket/a.cxg", listing) for store in stores)
    assert one != other
    assert one != stores[0].identity("s3://bucket/b.cxg", listing)
    assert one == stores[0].identity("s3://bucket/a.cxg/", listing)
