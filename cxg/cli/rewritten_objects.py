"""Objects of a CXG on S3 that seem to have been rewritten under their names, which no server notices.

The listing that a server reads S3 by tells no times. Here it is asked for with boto3, which does. TileDB
writes the schema of an array, then the files of a fragment, then the file that commits it, and never
writes any of them again; an upload writes all of them within a short time, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from cxg.startup.s3_access import S3Access

_SLOW_UPLOAD = timedelta(hours=1)
_COMMIT = re.compile(r"(?P<array>.*/)?(?:__commits/(?P<new>__[^/]+)\.wrt|(?P<old>__[^/]+)\.ok)")
_FRAGMENT_FILE = re.compile(r"(?P<array>.*?)(?:__fragments/)?(?P<fragment>__\d+_\d+_[0-9a-f]+(?:_\d+)?)/[^/]+")
_MOST_OBJECTS = 50_000


def find_rewritten(uris: Iterable[str], region: str | None, s3: S3Access) -> Iterator[str]:
    """Describe which objects of the datasets at some S3 URIs are newer than they can be, a line for each dataset.

    Parameters
    ----------
    region : str or None
        Region of their bucket.

    Raises
    ------
    ConfigError, StorageUnavailable
        They cannot be listed.
    """
    for uri in uris:
        listed = s3.aws.list_written(uri, region, s3.endpoint_url, s3.unsigned, _MOST_OBJECTS)
        found = sorted(rewritten(listed))
        if found:
            yield f"{uri}: {len(found)} written over an hour after the commit of their fragment, first {found[0]}"


def rewritten(written: Iterable[tuple[str, datetime]]) -> Iterator[str]:
    """Give the paths of files of fragments that are much newer than what commits them.

    Parameters
    ----------
    written : iterable of (str, datetime)
        Path in the dataset and time of the last write, of each object.
    """
    times = dict(written)
    commits = {
        (match["array"] or "", match["new"] or match["old"]): time
        for path, time in times.items()
        if (match := _COMMIT.fullmatch(path))
    }
    for path, time in times.items():
        match = _FRAGMENT_FILE.fullmatch(path)
        committed = commits.get((match["array"], match["fragment"])) if match else None
        if committed is not None and time - committed > _SLOW_UPLOAD:
            yield path
