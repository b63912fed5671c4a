"""`cxg share`: make, list and revoke links that open one hidden dataset without an account."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cxg.access import parse_moment
from cxg.aws.calls import Aws
from cxg.config import Config
from cxg.config.files import load_config
from cxg.config.runtime import Runtime
from cxg.datasets.dataroot import Dataroot
from cxg.errors import ConfigError
from cxg.sharing.records import MOST_NOTE, Record, Records, records_of
from cxg.sharing.token import PARAMETER, key_problem, new_share, sign
from cxg.startup.s3_access import S3Access
from cxg.startup.secret_key import find_secret_key
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cxg share`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="dataset of the dataroot")
    parser.add_argument(
        "--until", metavar="DATE", help="last day of the link, such as 2027-01-31, or a date and time zone"
    )
    parser.add_argument("--note", default="", help="who it is for; shown by --list alone")
    parser.add_argument("--list", action="store_true", help="list the links, of all datasets or of NAME")
    parser.add_argument("--revoke", action="store_true", help="end all links to NAME; servers see it within 10 seconds")
    parser.add_argument("--site", metavar="URL", help="address of the site (default: site.url of the configuration)")
    parser.add_argument("--dataroot", metavar="PATH|URI", help="default: as the server has it")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file of the server")


def run(args: argparse.Namespace, now: datetime | None = None) -> int:
    """Make, list or revoke links.

    Raises
    ------
    ConfigError
        An argument, the secret key or the dataroot cannot be used.
    StorageUnavailable
        The store does not answer.
    """
    now = datetime.now(UTC) if now is None else now
    _check_arguments(args)
    found = {"CXG_CONFIG_FILE": args.config, "CXG_DATAROOT": args.dataroot}
    runtime = Runtime.of({**os.environ, **{name: str(value) for name, value in found.items() if value is not None}})
    config = load_config(runtime)
    dataroot = config.multi_dataset.dataroot
    if not dataroot:
        raise ConfigError("cxg share needs the dataroot of the server: set CXG_DATAROOT, or give --dataroot.")
    records = records_of(str(dataroot), _client(config))
    name = None if args.name is None else _full_name(args.name)
    if args.list:
        sys.stdout.write(_table([one for one in records.read() if name in (None, one.share.dataset)], now))
        return 0
    if name is None:
        raise ConfigError("Name the dataset: cxg share NAME --until DATE.")
    if args.revoke:
        return _revoke(records, name)
    until = _end(args.until, now)
    key = _key(config, runtime)
    _check_dataset(config, runtime, name)
    record = Record(new_share(name, until), now, args.note)
    records.write(record)
    path = f"{config.multi_dataset.base_url}/{quote(name)}/?{PARAMETER}={sign(record.share, key)}"
    site = args.site or config.site.url
    sys.stdout.write(f"{site.rstrip('/')}/{path}\n" if site else f"/{path}\n")
    sys.stderr.write(
        f"Opens {name} without an account until {until:%Y-%m-%d %H:%M} UTC; cxg share {args.name} --revoke ends it."
        + ("\n" if site else " Put the address of your site before it, or set site.url.\n")
    )
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    if args.list and args.revoke:
        raise ConfigError("--list and --revoke do not go together.")
    if args.until is None and not (args.list or args.revoke):
        raise ConfigError("Say until when the link is to work: --until 2027-01-31.")
    if len(args.note) > MOST_NOTE:
        raise ConfigError(f"--note: {len(args.note)} characters; {MOST_NOTE} are possible.")


def _full_name(text: str) -> str:
    return text if text.endswith(".cxg") else f"{text}.cxg"


def _end(text: str, now: datetime) -> datetime:
    """Return the moment at which a link ends; a day without a time zone is over at midnight UTC."""
    moment = parse_moment(text)
    if moment is None:
        day = parse_moment(f"{text} UTC")
        if day is None or "T" in text or ":" in text:
            raise ConfigError(f"--until: {text!r} is not a date such as 2027-01-31 or 2027-01-31T18:00+01:00.")
        moment = day + timedelta(days=1)
    if moment <= now:
        raise ConfigError(f"--until: {text} is over.")
    return moment


def _key(config: Config, runtime: Runtime) -> str:
    found = find_secret_key(config, runtime, S3Access(Aws(runtime.aws), config.data_locator.s3, runtime.aws))
    key = None if found is None else found.value
    problem = key_problem(key)
    if problem is not None or key is None:
        raise ConfigError(f"No link can be signed: {problem}. The server needs the same key.")
    return key


def _check_dataset(config: Config, runtime: Runtime, name: str) -> None:
    root = Dataroot(Storage(config, runtime), str(config.multi_dataset.dataroot))
    if name not in root.names():
        raise ConfigError(f"There is no dataset {name} in {root.uri}.")


def _client(config: Config) -> Any:
    if not is_s3(str(config.multi_dataset.dataroot)):
        return None
    # Loaded here: a folder needs none of it.
    from cxg.convert.publish.bucket import s3_client

    locator = config.data_locator.s3
    return s3_client(locator.endpoint_url, locator.region_name if isinstance(locator.region_name, str) else None)


def _revoke(records: Records, name: str) -> int:
    ids = [one.share.id for one in records.read() if one.share.dataset == name]
    for share_id in ids:
        records.remove(share_id)
    sys.stdout.write(f"Revoked {len(ids)} link{'' if len(ids) == 1 else 's'} to {name}.\n")
    return 0


def _table(records: list[Record], now: datetime) -> str:
    rows = sorted(records, key=lambda one: (one.share.dataset, one.share.until))
    return "".join(
        f"{one.share.dataset}  until {one.share.until:%Y-%m-%d %H:%M} UTC{'' if now < one.share.until else ' (over)'}  "
        f"made {one.made:%Y-%m-%d}{f'  {one.note}' if one.note else ''}\n"
        for one in rows
    )
