"""Publishes a finished CXG to an S3 bucket so that no reader ever opens half of it.

S3 has no rename. What makes an array visible to TileDB is its schema, and what makes a
folder a CXG is `obs`; so data goes first, then the commit markers, then the schemas with
that of `obs` last, then the group's marker. An old CXG is taken down in the reverse order,
completely, before the first new object is written: the two are never mixed, and in
between there is no dataset of that name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxg.aws.calls import split_s3
from cxg.errors import ConversionError
from cxg.format import layout

_THREADS = 8
_PART_BYTES = 16 << 20
_DELETE_AT_ONCE = 1000


class Bucket:
    """One prefix of a bucket.

    Parameters
    ----------
    uri : str
        ``s3://bucket/prefix/name.cxg``. The endpoint, region and credentials come from the
        usual AWS variables and files.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._bucket, self._prefix = split_s3(uri)
        if not self._bucket or not self._prefix:
            raise ConversionError(f"{uri} is not a place for a dataset: s3://bucket/prefix/name.cxg is needed.")
        if self._prefix.rsplit("/", 1)[-1].startswith("."):
            raise ConversionError(
                f"{uri}: a name that begins with a dot would never be listed as a dataset; choose another."
            )
        self._s3 = s3_client()

    def keys(self) -> list[str]:
        """List the names of all objects below the prefix, relative to it."""
        prefix = self._prefix + "/"
        with self._errors():
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())]

    def check_target(self, overwrite: bool) -> None:
        """Refuse, before any work, a prefix that holds something already.

        Raises
        ------
        ConversionError
            It does, or the bucket cannot be reached.
        """
        keys = self.keys()
        if not keys:
            return
        if not overwrite:
            raise ConversionError(
                f"{self.uri} holds {len(keys)} objects already (a dataset, or what is left of an interrupted upload); "
                "use --overwrite to replace them, or choose another name."
            )
        if not (_is_cxg(keys) or _is_left_over(keys)):
            raise ConversionError(f"{self.uri} is not a CXG, so --overwrite does not replace it; choose another name.")

    def publish(self, root: Path, overwrite: bool, step: Callable[[str, int, int], None]) -> None:
        """Upload the CXG in `root`; on failure remove what was uploaded.

        Raises
        ------
        ConversionError
            The store refused or did not answer.
        """
        self.check_target(overwrite)
        files = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
        sent: list[str] = []
        try:
            if overwrite:
                self._remove(self.keys())
            for stage in stages(files):
                sent += stage
                self._send(root, stage)
                step("uploading", len(sent), len(files))
        except BaseException:
            self._remove(sent)
            raise

    def _send(self, root: Path, names: Sequence[str]) -> None:
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=_THREADS
        )

        def send(name: str) -> None:
            self._s3.upload_file(str(root / name), self._bucket, f"{self._prefix}/{name}", Config=parts)

        with self._errors(), ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(send, names))

    def _remove(self, keys: Sequence[str]) -> None:
        with self._errors():
            for stage in reversed(stages(keys)):
                for first in range(0, len(stage), _DELETE_AT_ONCE):
                    batch = [{"Key": f"{self._prefix}/{key}"} for key in stage[first : first + _DELETE_AT_ONCE]]
                    answer = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True})
                    if answer.get("Errors"):
                        raise ConversionError(
                            f"{self.uri}: an old object cannot be deleted ({answer['Errors'][0].get('Code')})."
                        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise ConversionError(
                f"{self.uri} cannot be written: {reason}. Check bucket, region, credentials and endpoint."
            ) from error


def _is_cxg(keys: Sequence[str]) -> bool:
    return any(key == mark or key.startswith(f"{mark}/") for key in keys for mark in layout.MARKS)


def _is_left_over(keys: Sequence[str]) -> bool:
    """Tell whether all objects are files of TileDB in arrays of a CXG, as an upload that was killed leaves them."""
    return all(key.split("/", 1)[0] in layout.MEMBERS and f"/{layout.RESERVED_PREFIX}" in key for key in keys)


def stages(keys: Sequence[str]) -> list[list[str]]:
    """Sort the files of a CXG into the groups that are uploaded one after the other.

    Data, commit markers, schemas but that of `obs`, the schema of `obs`, group markers.
    """
    out: list[list[str]] = [[], [], [], [], []]
    for key in sorted(keys):
        parts = key.split("/")
        if layout.GROUP_MARKER in parts or "__group" in parts:
            out[4].append(key)
        elif layout.SCHEMA_FOLDER in parts or parts[-1] == layout.OLD_SCHEMA:
            out[3 if parts[0] == layout.OBS else 2].append(key)
        else:
            committed = layout.COMMITS_FOLDER in parts or parts[-1].endswith(".ok")
            out[1 if committed else 0].append(key)
    return out


def s3_client(endpoint: str | None = None, region: str | None = None) -> Any:
    """Make a client with connections for all uploads at a time; endpoint and region as in the usual AWS variables."""
    import boto3  # a third of a second, only for s3:// targets
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    # Stores other than Amazon's seldom have a host name for each bucket.
    custom = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=4 * _THREADS,
        s3={"addressing_style": "path"} if custom else None,
    )
    try:
        return boto3.client("s3", config=config, endpoint_url=endpoint, region_name=region)
    except (BotoCoreError, ValueError) as error:
        raise ConversionError(f"S3 cannot be used: {error}") from error
