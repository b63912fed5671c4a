"""`cxg launch`: serve datasets from this machine."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from cxg.cli.converted import converted_path, ensure_converted
from cxg.config import Config, default_yaml
from cxg.config.files import load_config
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError, DatasetInvalid
from cxg.format.structure import is_cxg
from cxg.memory import MemoryPlan, plan
from cxg.redact import redacted
from cxg.startup.gunicorn import gunicorn_command, server_environment
from cxg.startup.prepared import Data, Prepared
from cxg.storage.listing import is_s3, list_folder
from cxg.web.client import default_folder, load_client

_START_WAIT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `cxg launch`."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="DATAROOT, CXG or H5AD",
        help="folder or s3:// prefix of datasets, one dataset, or one .h5ad file, which is converted first",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (see --dump-default-config)")
    parser.add_argument(
        "--host", help="address to listen on (default 127.0.0.1; docs/deploy.md says what a proxy in front is for)"
    )
    parser.add_argument("--port", type=int, help="port to listen on (default 5005)")
    parser.add_argument("--client", type=Path, metavar="DIR", help="folder of the built web client")
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        help="open the page in a web browser (default: for an .h5ad file, if there is a screen)",
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")
    parser.add_argument("--dump-default-config", action="store_true", help="print a commented configuration and stop")


def run(args: argparse.Namespace) -> int:
    """Check everything that can be checked, print where the server is, and become gunicorn.

    Raises
    ------
    ConfigError
        The path, the configuration, the client, the port, the secret or the bucket cannot be used.
    DatasetInvalid
        The one dataset to serve is damaged.
    StorageUnavailable
        AWS cannot be reached.
    """
    if args.dump_default_config:
        sys.stdout.write(default_yaml())
        return 0
    env = {**os.environ, **_overrides(args, os.environ)}
    runtime = Runtime.of(env)
    config = load_config(runtime)
    load_client(default_folder(runtime), config, runtime.inline_scripts_dir)
    shares = plan(runtime)
    host, port = config.server.host, config.server.port
    check_port(host, port)
    if is_h5ad(args.path):
        ensure_converted(args.path, Path(str(config.single_dataset.datapath)))
    _check_data(config)
    prepared = _prepare(config, runtime, "cxg launch" if args.path is not None else None)
    if prepared.region:
        os.environ["AWS_REGION"] = prepared.region  # TileDB reads it from this process's own environment
    _check_datasets(prepared)
    url = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::') else _in_url(host)}:{port}/"  # noqa: S104
    sys.stdout.write(_banner(config, url, shares))
    sys.stdout.flush()
    if args.open or (args.open is None and (config.server.open_browser or (is_h5ad(args.path) and _has_screen()))):
        open_when_ready(url)
    command = gunicorn_command(host, port, shares.workers, shares.threads)
    return _become(command, server_environment(env, prepared, shares))


def _become(command: list[str], env: dict[str, str]) -> NoReturn:
    os.execve(command[0], command, env)  # noqa: S606


def _has_screen() -> bool:
    """Whether a person started this at a terminal of a machine with a screen."""
    has_display = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return has_display and at_a_terminal()


def at_a_terminal() -> bool:
    """Whether the output goes to a terminal."""
    return sys.stdout.isatty()


def is_h5ad(path: str | None) -> bool:
    """Whether a path on the command line names an AnnData file of this machine."""
    return path is not None and path.lower().endswith(".h5ad") and not is_s3(path) and not Path(path).is_dir()


def _overrides(args: argparse.Namespace, env: Mapping[str, str]) -> dict[str, str]:
    chosen = {
        "CXG_CONFIG_FILE": args.config,
        "CXG_HOST": args.host,
        "CXG_PORT": args.port,
        "CXG_CLIENT_DIR": args.client,
        "CXG_VERBOSE": "true" if args.verbose else None,
    }
    found = {name: str(value) for name, value in chosen.items() if value is not None}
    if args.path is not None:
        found |= _data_override(args.path, env)
    return found


def _data_override(path: str, env: Mapping[str, str]) -> dict[str, str]:
    """A path on the command line is one dataset, a file to make one of, or a folder of them."""
    if is_h5ad(path):
        return {"CXG_DATAPATH": str(converted_path(path, env)), "CXG_DATAROOT": ""}
    if path.lower().endswith((".h5ad", ".h5")):
        raise ConfigError(f"{path} is no CXG, which is what is served. Convert it first: cxg convert {path}")
    if is_s3(path):
        single = path.rstrip("/").endswith(".cxg")
    else:
        folder = Path(path)
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {path}: name a folder of datasets, or one dataset (.cxg).")
        single = _is_dataset(folder)
        path = str(folder.resolve())
    return {"CXG_DATAPATH": path, "CXG_DATAROOT": ""} if single else {"CXG_DATAROOT": path, "CXG_DATAPATH": ""}


def _is_dataset(folder: Path) -> bool:
    """Tell one dataset, whole or damaged, from a folder of them."""
    if (folder / "obs").is_dir():
        return True
    inside = [item for item in folder.iterdir() if item.is_dir()]
    if any(item.suffix == ".cxg" or (item / "obs").is_dir() for item in inside):
        return False
    return folder.suffix == ".cxg" or is_cxg(list_folder(str(folder)))


def _check_datasets(prepared: Prepared) -> None:
    """Tell what is wrong with the datasets, as far as that can be seen within a moment.

    Raises
    ------
    DatasetInvalid
        The one dataset to serve cannot be opened.
    """
    # Loaded here: it brings TileDB, which a mistake in the command line need not wait for.
    from cxg.startup.first_look import FirstLook

    look = FirstLook(prepared.config, prepared.runtime)
    look.run()
    if look.unopened is not None:
        raise DatasetInvalid(f"{prepared.config.single_dataset.datapath}: {look.unopened}")
    for line in look.lines():
        sys.stderr.write(f"cxg: warning: {redacted(line)}\n")


def _check_data(config: Config) -> None:
    dataroot, datapath = config.multi_dataset.dataroot, config.single_dataset.datapath
    if not dataroot and not datapath:
        raise ConfigError("Say what to serve: cxg launch FOLDER, or set multi_dataset.dataroot in the configuration.")
    where = str(dataroot or datapath)
    if not is_s3(where) and not Path(where).is_dir():
        raise ConfigError(f"There is no folder {where}: correct the dataroot.")


def _prepare(config: Config, runtime: Runtime, setting: str | None) -> Prepared:
    """Do what a container's start does on AWS: fetch the secret key, see that the bucket lists, find its region.

    Parameters
    ----------
    setting : str or None
        What named the data, for messages; None to find the variable or key that did.
    """
    dataroot = config.multi_dataset.dataroot
    uri, variable = str(dataroot or config.single_dataset.datapath), "CXG_DATAROOT" if dataroot else "CXG_DATAPATH"
    if not is_s3(uri) and not runtime.secret_name:
        return Prepared(config, runtime, Data(uri, setting or variable, variable), uri, runtime.config_file or None)
    # Loaded here: a server on plain files needs none of it, and starts sooner without.
    from cxg.aws.calls import Aws
    from cxg.startup.prepare import prepare

    prepared = prepare(config, runtime, Aws(runtime.aws), lambda data, _: data.uri, setting=setting)
    weakness = prepared.secret.weakness if prepared.secret and runtime.secret_name else None
    for warning in (*([f"{weakness}."] if weakness else []), *prepared.warnings):
        sys.stderr.write(f"cxg: warning: {redacted(warning)}\n")
    return prepared


def check_port(host: str, port: int) -> None:
    """Raise ConfigError unless a server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"Cannot listen on {_in_url(host)}:{port} ({error.strerror}): stop what uses it, or choose another "
                "with --port."
            ) from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _banner(config: Config, url: str, shares: MemoryPlan) -> str:
    where = config.multi_dataset.dataroot or config.single_dataset.datapath
    return f"Serving {redacted(str(where))}\n{shares.table()}\nOpen {url} in a web browser; Ctrl-C stops the server.\n"


def open_when_ready(url: str) -> None:
    """Open the browser once the server answers; from a child process, as this one becomes gunicorn."""
    if os.fork():
        return
    # Loaded here, in the child alone: the server needs neither, and starts sooner without.
    import urllib.request
    import webbrowser

    deadline = time.monotonic() + _START_WAIT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}health/live", timeout=1):  # noqa: S310  (our own address)
                webbrowser.open(url)
                break
        except OSError:
            threading.Event().wait(0.1)
    os._exit(0)
