"""Every exception this package raises on purpose.

::

    CxgError
    ├── ConfigError             the configuration cannot be used
    ├── RequestError            the client asked for something that makes no sense
    │   ├── BadFilter           a filter, body or parameter cannot be understood
    │   ├── UnknownColumn       a column, embedding or axis that the dataset lacks
    │   ├── BodyTooLarge        a body longer than its route can use
    │   ├── LimitExceeded       more columns or cells than the configuration allows
    │   ├── NotAcceptable       the Accept header excludes the only form there is
    │   ├── UnsupportedMedia    the body has another content type than the route takes
    │   └── NotOffered          a feature that is switched off, or never offered here
    ├── DatasetError            one dataset cannot be served; the others can
    │   ├── DatasetNotFound     no dataset of that name in the dataroot
    │   ├── DatasetInvalid      it is there, but damaged or not a CXG
    │   └── DatasetTooLarge     it is sound, but needs more memory than the server has
    ├── StorageUnavailable      the dataroot did not answer; a retry is safe
    ├── Busy                    too many ask for long work at once; a retry is safe
    └── ConversionError         an input cannot be turned into a CXG

They are plain classes that carry one sentence for a person, without credentials (`cxg.redact`). HTTP status codes
are assigned in `cxg.web.errors` alone, exit codes in `cxg.cli.main`.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxg.redact import redacted


class CxgError(Exception):
    """Root of every error raised on purpose; its text is meant for a person."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(CxgError):
    """The configuration cannot be used; `problems` holds one sentence for each fault."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = (problems,) if isinstance(problems, str) else problems
        self.problems: tuple[str, ...] = tuple(map(redacted, given))
        super().__init__("\n".join(self.problems))


class RequestError(CxgError):
    """The request makes no sense for this dataset or this server."""


class BadFilter(RequestError):
    """A filter, a body or a parameter cannot be understood."""


class UnknownColumn(RequestError):
    """A column or embedding that the dataset does not have."""


class BodyTooLarge(RequestError):
    """The body is longer than the route can use."""


class LimitExceeded(RequestError):
    """More columns or cells than the configuration allows in one request."""


class NotAcceptable(RequestError):
    """The client's Accept header excludes the only form the answer has."""


class UnsupportedMedia(RequestError):
    """The body's content type is not the one the route takes."""


class NotOffered(RequestError):
    """A feature that is switched off by configuration, or never offered by this server."""


class DatasetError(CxgError):
    """One dataset cannot be served; every other one can."""


class DatasetNotFound(DatasetError):
    """There is no dataset of that name in the dataroot."""


class DatasetInvalid(DatasetError):
    """The dataset is there, but damaged or not a CXG."""


class DatasetTooLarge(DatasetError):
    """The dataset is sound, but serving it takes more memory than the memory plan has."""


class StorageUnavailable(CxgError):
    """The dataroot did not answer in time or refused; a retry is safe."""


class Busy(CxgError):
    """Too many requests for long work wait already; a retry is safe."""


class ConversionError(CxgError):
    """An input file cannot be turned into a CXG."""
