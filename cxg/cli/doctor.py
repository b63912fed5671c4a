"""`cxg doctor`: look over a whole deployment and say what is wrong, before a visitor does.

Runs where the server runs, with the same environment, and changes nothing. Each check stands alone, so that one run
shows everything. Exit codes: 0 nothing failed, 1 something did, 2 the configuration cannot be read at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cxg import memory
from cxg.aws.calls import Aws
from cxg.cli.descriptions import check_descriptions
from cxg.cli.outcome import FAILED, OK, SKIPPED, WARNING, Check, as_json, as_text
from cxg.cli.rewritten_objects import find_rewritten
from cxg.config import Config, load
from cxg.config.runtime import Runtime
from cxg.datasets.dataroot import Dataroot, SingleDataset
from cxg.errors import ConfigError, CxgError, one_line
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.notes import Loss
from cxg.plugins import load as load_plugins
from cxg.redact import redacted
from cxg.startup import mounts
from cxg.startup.preflight import DEFAULTS, Source, find_config
from cxg.startup.prepare import DATA, SECRET, prepare
from cxg.startup.prepared import Data, Prepared
from cxg.startup.s3_access import S3Access
from cxg.storage.listing import Listing
from cxg.storage.storage import Storage
from cxg.web.client import default_folder, load_client
from cxg.web.headers import plain_policy

BAKED_CONFIG = Path(__file__).resolve().parents[2] / "customize" / "config.yaml"
_FRAGMENT_FORMAT = re.compile(r"(?:^|/)__\d+_\d+_[0-9a-f]+_(\d+)(?:/|\.|$)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cxg doctor`."""
    parser.add_argument("--config", metavar="FILE", help="configuration file (default: as the container finds it)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument(
        "--without-data", action="store_true", help="leave the dataroot and the secret alone: for an image just built"
    )


def run(args: argparse.Namespace) -> int:
    """Make every check and print the outcome.

    Raises
    ------
    ConfigError, StorageUnavailable
        The configuration cannot be read, so that nothing else can be checked.
    """
    runtime = Runtime.of({**os.environ, **({"CXG_CONFIG_FILE": args.config} if args.config else {})})
    aws = Aws(runtime.aws)
    try:
        source = find_config(runtime, Path("/nonexistent") if args.config else BAKED_CONFIG, aws)
    except ConfigError:
        if runtime.config_file or not args.without_data:
            raise
        source = Source("", DEFAULTS)
    loaded = load(source.text, runtime.overrides, source.name)
    status = WARNING if loaded.warnings else OK
    checks = [Check("configuration", status, f"read from {source.name}", loaded.warnings)]
    if args.without_data:
        checks += [Check(SECRET, SKIPPED, "not looked for"), Check(DATA, SKIPPED, "not looked at")]
    else:
        locate = partial(find_mounted, runtime=runtime)
        prepared = prepare(loaded.config, runtime, aws, locate, config_uri=source.uri, collect=True)
        checks += [check_secret(prepared), *check_datasets(prepared, runtime, aws)]
    checks += [check_memory(runtime), _guarded("plugins", lambda: check_plugins(runtime))]
    checks += check_client(loaded.config, runtime)
    sys.stdout.write(redacted(as_json(checks) if args.json else as_text(checks)))
    return 1 if any(check.status == FAILED for check in checks) else 0


def find_mounted(data: Data, _: S3Access, runtime: Runtime) -> str:
    """Path of a dataroot that is a mounted file system; the doctor mounts nothing itself."""
    wanted = mounts.wanted_mount(data.uri, data.setting, runtime.s3_mount)
    if wanted is None:
        return data.uri
    point = runtime.mount_point or mounts.DEFAULT_MOUNT_POINT
    present = mounts.mount_at(point, mounts.read_mounts())
    if present is None:
        what = f"{data.setting} {data.uri}"
        raise ConfigError(f"{what}: nothing is mounted at {point}; the container mounts it when it starts.")
    return f"{present.point}/{mounts.verify(wanted, present)}".rstrip("/")


def check_secret(prepared: Prepared) -> Check:
    """Where the secret key comes from, and whether it is strong enough."""
    if SECRET in prepared.failures:
        return Check(SECRET, FAILED, one_line(prepared.failures[SECRET]))
    key = prepared.secret
    if key is None:
        folder = prepared.runtime.plugins_dir
        if folder and any(folder.glob("*.py")):
            return Check("secret key", WARNING, "none; a plugin that uses sessions needs one: set CXG_SECRET_KEY")
        return Check("secret key", OK, "none, and none is needed: the server sets no cookie")
    if key.weakness:
        return Check("secret key", FAILED, key.weakness)
    return Check("secret key", OK, f"from {key.source}, strong enough")


def check_datasets(prepared: Prepared, runtime: Runtime, aws: Aws) -> Iterator[Check]:
    """Whether the dataroot can be reached, and each dataset in it read."""
    if DATA in prepared.failures:
        yield Check(DATA, FAILED, one_line(prepared.failures[DATA]))
        return
    config, path, setting = prepared.config, prepared.path, prepared.data.setting
    storage = Storage(config, runtime, dataset_mb=memory.plan(runtime).dataset_mb)
    root = Dataroot(storage, path) if config.multi_dataset.dataroot else SingleDataset(storage, path)
    try:
        names = root.names()
    except CxgError as error:
        yield Check("data", FAILED, f"{setting} {prepared.data.uri}: {one_line(error)}")
        return
    details = list(prepared.warnings)
    if not path.startswith("s3://") and os.access(path, os.W_OK):
        details.append(f"{path} is writable for this user; the server only reads it, so mount it read-only")
    count = f"{len(names)} dataset{'' if len(names) == 1 else 's'}"
    status = OK if names and not prepared.warnings else WARNING
    text = f"{setting} {path} can be listed: {count}, TileDB {version('tiledb')}"
    yield Check("data", status, text, tuple(details))
    for name in names:
        yield _guarded(f"dataset {name}".rstrip(), partial(check_dataset, storage, root, name))
    yield _guarded("descriptions", partial(check_descriptions, storage, root, names))
    if path.startswith("s3://") and prepared.region is not None:
        uris = [root.dataset_uri(name) for name in names]
        s3 = S3Access(aws, config.data_locator.s3, runtime.aws)
        yield _guarded("objects", lambda: check_objects(uris, prepared.region, s3))


def check_dataset(storage: Storage, root: Dataroot | SingleDataset, name: str) -> Check:
    """Open one dataset and read a little of each part of it.

    Raises
    ------
    CxgError
        It cannot be opened or read.
    """
    label = f"dataset {name}".rstrip()
    uri = root.dataset_uri(name)
    listing = storage.listing(uri)
    dataset = open_dataset(storage, uri, name, listing)
    try:
        problems = [problem for problem in (dataset.view_problem, dataset.x_problem) if problem]
        _read_a_little(dataset)
        text = (
            f"{dataset.n_obs:,} cells, {dataset.n_var:,} genes, CXG version {dataset.version}, "
            f"TileDB format {_formats(listing)}, {listing.total_bytes / 1e6:,.1f} MB"
        )
        lost = dataset.view_problem is not None or any(isinstance(text, Loss) for text in dataset.warnings)
        status = FAILED if lost else WARNING if problems or dataset.warnings else OK
        return Check(label, status, text, (*problems, *dataset.warnings))
    finally:
        dataset.close()


def check_objects(uris: list[str], region: str | None, s3: S3Access) -> Check:
    """Whether objects on S3 were rewritten under their names, which a server does not notice.

    Raises
    ------
    CxgError
        They cannot be listed.
    """
    found = tuple(find_rewritten(uris, region, s3))
    text = "perhaps rewritten under their names, unless the upload took hours: upload the dataset under another name"
    return Check("objects", WARNING if found else OK, text if found else "none was rewritten under its name", found)


def check_memory(runtime: Runtime) -> Check:
    """Whether the memory plan fits into what there is."""
    plan = memory.plan(runtime)
    together = plan.workers * plan.worker_mb
    details = tuple(line.strip() for line in plan.table().splitlines())
    sizes = f"{together:,} MB of {plan.total_mb:,} MB"
    if together > plan.total_mb:
        text = f"{plan.workers} workers may take {sizes}: lower CXG_WORKERS, or add memory"
        return Check("memory", FAILED, text, details)
    return Check("memory", OK, f"{plan.workers} workers take {sizes} at most", details)


def check_plugins(runtime: Runtime) -> Check:
    """Whether every plugin loads.

    Raises
    ------
    ConfigError
        One does not.
    """
    plugins = load_plugins(runtime.plugins_dir).plugins
    return Check("plugins", OK, ", ".join(plugin.path.name for plugin in plugins) or "none")


def check_client(config: Config, runtime: Runtime) -> Iterator[Check]:
    """Whether the web client is complete, and what its content security policy lets through."""
    folder = default_folder(runtime)
    try:
        client = load_client(folder, config, runtime.inline_scripts_dir)
        changed = _changed_files(folder)
    except (CxgError, OSError) as error:
        yield Check("web client", FAILED, one_line(error))
        return
    text = f"{sum(path.is_relative_to(folder) for path in client.files.values())} files in {folder}"
    if changed:
        text = f"{len(changed)} files in {folder} are not as they were built: run 'make build-client' again"
    yield Check("web client", FAILED if changed else OK, text, changed[:10])
    weak = [
        f"{page}: {fault}"
        for page, policy in (("explorer", client.policy), ("list", plain_policy(config)))
        for fault in policy_faults(policy)
    ]
    text = "scripts run only from here, from server.scripts and by their hash" if not weak else "lets through too much"
    yield Check("content security policy", WARNING if weak else OK, text, tuple(weak))


def policy_faults(policy: str) -> Iterator[str]:
    """What makes a content security policy useless; https://www.w3.org/TR/CSP3/."""
    directives = {words[0]: words[1:] for words in (part.split() for part in policy.split(";")) if words}
    scripts = directives.get("script-src", directives.get("default-src", ["*"]))
    hashed = any(source.startswith(("'sha", "'nonce-")) for source in scripts)
    if "'unsafe-inline'" in scripts and not hashed:
        yield "script-src has 'unsafe-inline': any script injected into a page would run"
    for source in scripts:
        if source in ("*", "https:", "http:", "data:"):
            yield f"script-src has {source}: scripts of any origin would run"
    if "*" in directives.get("frame-ancestors", ["*"]):
        yield "frame-ancestors lets any site put this one into a frame"
    if "object-src" not in directives and "default-src" not in directives:
        yield "object-src is not limited"


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except CxgError as error:
        return Check(name, FAILED, one_line(error))


def _read_a_little(dataset: Dataset) -> None:
    if dataset.embeddings:
        dataset.read_embedding(dataset.default_embedding or dataset.embeddings[0])
    for axis in ("obs", "var"):
        columns = dataset.annotations(axis).columns
        if columns:
            dataset.read_column(axis, columns[0].name)
    if dataset.x_kind is not None and dataset.x_problem is None and dataset.n_var:
        dataset.read_X_columns(np.zeros(1, np.int64))


def _formats(listing: Listing) -> str:
    """TileDB's array format versions, which the names of fragments end with."""
    found = {int(match[1]) for entry in listing.entries if (match := _FRAGMENT_FORMAT.search(entry.path))}
    return ", ".join(map(str, sorted(found))) or "before 5"


def _changed_files(folder: Path) -> tuple[str, ...]:
    """Files that differ from the client's own stamp; none when it has no stamp."""
    stamp = folder / "stamp.json"
    if not stamp.is_file():
        return ()
    try:
        files: dict[str, str] = json.loads(stamp.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError):
        return ("stamp.json",)
    return tuple(sorted(name for name, digest in files.items() if _sha256(folder / name) != digest))


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
