"""Fill the bucket of compose.yaml with sample datasets; runs in the `seed` stage of the image.

Runs at every `docker compose up`: what is in the bucket already stays as it is, so that datasets
added later, and changes to the samples, survive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_WAIT_S = 60.0
_H5AD = Path("/sample/10x_pbmc68k_reduced.h5ad")
# Name in the bucket, and the options of `cxg convert`.
SAMPLES = {
    "pbmc68k_reduced.cxg": ("--title", "Blood cells (PBMC), expression scaled to z-scores"),
    "pbmc68k_unscaled.cxg": ("--title", "Blood cells (PBMC), expression before scaling", "--raw"),
}


def main() -> int:
    """Make the bucket, convert what is missing, check the result; the exit code of the first command that fails.

    A damaged dataset does not count as a failure: the server waits for this to succeed, and serves the others.
    """
    dataroot = os.environ["CXG_DATAROOT"].rstrip("/")
    bucket, _, prefix = dataroot.removeprefix("s3://").partition("/")
    store = boto3.client("s3")
    try:
        _make_bucket(store, bucket)
        for name, options in SAMPLES.items():
            # The converter uploads this part last: without it there is at most what an interrupted upload left.
            if _is_there(store, bucket, f"{prefix}/{name}/obs/__schema/".lstrip("/")):
                _say(f"{name} is there")
                continue
            _say(f"converting {name}")
            command = ["cxg", "convert", str(_H5AD), f"{dataroot}/{name}", *options, "--overwrite"]
            code = subprocess.call(command)
            if code:
                return code
    except (BotoCoreError, ClientError) as error:
        _say(f"{dataroot}: {' '.join(str(error).split())}")
        return 2
    code = subprocess.call(["cxg", "doctor"])  # noqa: S607
    if code == 1:
        _say("something above failed; the server starts all the same")
    return 0 if code == 1 else code


def _make_bucket(store: Any, bucket: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            store.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                return
            raise
        except BotoCoreError:  # not listening yet
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def _is_there(store: Any, bucket: str, prefix: str) -> bool:
    return bool(store.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount"))


def _say(line: str) -> None:
    sys.stderr.write(f"seed: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
