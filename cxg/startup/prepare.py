"""Make a deployment ready: secret key, place of the data, checks. One function for the container and the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from cxg.aws.calls import Aws
from cxg.config import Config
from cxg.config.runtime import Runtime
from cxg.errors import CxgError
from cxg.startup.preflight import check_data, find_data
from cxg.startup.prepared import Data, Prepared
from cxg.startup.s3_access import CheckedData, S3Access
from cxg.startup.secret_key import find_secret_key

SECRET, DATA = "secret key", "data"
# Returns the path or URI at which the data can be read: `Data.uri` itself, or where a file system is mounted.
Locate = Callable[[Data, S3Access], str]


def prepare(
    config: Config,
    runtime: Runtime,
    aws: Aws,
    locate: Locate,
    *,
    config_uri: str | None = None,
    setting: str | None = None,
    collect: bool = False,
) -> Prepared:
    """Find the secret key, then locate the data, then check that it can be listed. Changes nothing but by `locate`.

    Parameters
    ----------
    config_uri : str, optional
        Where the configuration was read from, when that was S3.
    setting : str, optional
        What names the data, for messages; by default the variable or key that does.
    collect : bool
        Go on after a step that failed, and put its error into `Prepared.failures`.

    Raises
    ------
    CxgError
        The first step that fails, unless `collect`.
    """
    failures: dict[str, CxgError] = {}
    s3 = S3Access(aws, config.data_locator.s3, runtime.aws)
    data, secret, path, checked = Data("", "", ""), None, "", CheckedData()
    with _step(DATA, failures, collect):
        data = find_data(config, runtime)
    with _step(SECRET, failures, collect):
        secret = find_secret_key(config, runtime, s3, config_uri)
    data = data if setting is None else replace(data, setting=setting)
    if DATA not in failures:
        with _step(DATA, failures, collect):
            path = locate(data, s3)
            checked = check_data(path, data.setting, config, s3)
    return Prepared(
        config,
        runtime.in_region(checked.region),
        data,
        path,
        runtime.config_file or None,
        secret,
        checked.region,
        checked.warnings,
        failures,
    )


@contextmanager
def _step(name: str, failures: dict[str, CxgError], collect: bool) -> Iterator[None]:
    try:
        yield
    except CxgError as error:
        if not collect:
            raise
        failures[name] = error
