"""Errors of TileDB and of the operating system: the store is away, memory is short, or the data is damaged."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import tiledb

from cxg.errors import DatasetInvalid, StorageUnavailable

# What TileDB and the AWS SDK inside it say when the store, not the data, is at fault.
_AWAY = re.compile(
    r"curl|connect|timed? ?out|timeout|network|resolve|SlowDown|InternalError|ServiceUnavailable|"
    r"HTTP response code: (-1|5\d\d|403)|Access ?Denied|Forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|"
    r"ExpiredToken|NoSuchBucket|transport endpoint|stale file|input/output error",
    re.IGNORECASE,
)
# Paths in such texts are chosen by people: a dataset called network.cxg does not mean trouble with the network.
_PATHS = re.compile(r"'[^'\n]*'|URI [^\n]*\.tdb|[^\s'\"]*/[^\s'\"]*")
_TOO_LITTLE = re.compile(r"memory budget|one (tile|slab) with current", re.IGNORECASE)
# TileDB wraps failed allocations.
NO_MEMORY = re.compile(
    r"bad_alloc|MemoryError|(cannot|unable to|failed to|could not) allocate|out of memory|bad_array_new_length|"
    r"length_error|_M_default_append|array is too big|maximum (supported|allowed) (size|dimension)",
    re.IGNORECASE,
)
_AWAY_ERRNO = frozenset({errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV})


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn TileDB's and the operating system's errors about `what` into ours.

    Raises
    ------
    StorageUnavailable
        The store did not answer or refused, or memory ran out; a retry is safe.
    DatasetInvalid
        The store answered, but `what` is missing or damaged.
    """
    try:
        yield
    except MemoryError as error:
        raise StorageUnavailable(f"There is not enough memory to read {what} now; try again soon.") from error
    except (tiledb.TileDBError, OSError, UnicodeDecodeError) as error:
        text = str(error)
        if NO_MEMORY.search(_PATHS.sub(" ", text)):
            raise StorageUnavailable(f"There is not enough memory to read {what} now; try again soon.") from error
        if _TOO_LITTLE.search(_PATHS.sub(" ", text)):
            raise DatasetInvalid(
                f"Reading {what} takes more memory than is allowed: raise sm.mem.total_budget in "
                "adaptor.cxg_adaptor.tiledb_ctx."
            ) from error
        if is_storage_fault(error):
            raise StorageUnavailable(f"The storage did not answer while reading {what}; try again soon.") from error
        subject = what[0].upper() + what[1:]
        damage = DatasetInvalid(
            f"{subject} cannot be read: missing or damaged. Copy the dataset again from its source."
        )
        damage.add_note(text or type(error).__name__)
        raise damage from error


def is_storage_fault(error: BaseException) -> bool:
    """Tell whether an error of TileDB or the operating system is the store's fault, not the data's."""
    return getattr(error, "errno", None) in _AWAY_ERRNO or bool(_AWAY.search(_PATHS.sub(" ", str(error))))
