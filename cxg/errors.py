"""Every exception this package raises on purpose.

::

    CxgError
    ├── ConfigError             the configuration cannot be used
    ├── RequestError            the request is not valid here
    │   ├── BadFilter           a filter, body or parameter cannot be understood
    │   ├── UnknownColumn       the dataset has no such column, embedding or axis
    │   ├── BodyTooLarge        a body longer than its route can use
    │   ├── LimitExceeded       more columns or cells than the configuration allows
    │   ├── NotAcceptable       the Accept header excludes the only form there is
    │   ├── UnsupportedMedia    the body has another content type than the route takes
    │   └── NotOffered          the feature is switched off, or never offered here
    ├── DatasetError            one dataset cannot be served; the others can
    │   ├── DatasetNotFound     the dataroot has no dataset of that name
    │   ├── DatasetReplaced     the request is for a version that is no longer there
    │   ├── DatasetInvalid      it is there, but damaged or not a CXG
    │   └── DatasetTooLarge     it is valid, but needs more memory than the server has
    ├── StorageUnavailable      the dataroot did not answer; a retry is safe
    ├── Busy                    too many requests for long work at once; a retry is safe
    └── ConversionError         an input cannot be turned into a CXG

They are plain classes that carry one sentence for a person, without credentials (`cxg.redact`). Only
`cxg.web.errors` assigns HTTP status codes, and only `cxg.cli.main` assigns exit codes.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxg.redact import redacted


def one_line(text: object) -> str:
    """Return a text, or an error's, without line breaks and repeated blanks."""
    return " ".join(str(text).split())


class CxgError(Exception):
    """The base class of all errors that the package raises on purpose; its text is for a person."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(CxgError):
    """The configuration cannot be used; `problems` holds one sentence for each fault."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        given = (problems,) if isinstance(problems, str) else problems
        self.problems: tuple[str, ...] = tuple(map(redacted, given))
        super().__init__("\n".join(self.problems))


class RequestError(CxgError):
    """The request is not valid for this dataset or this server."""


class BadFilter(RequestError):
    """A filter, a body or a parameter cannot be understood."""


class UnknownColumn(RequestError):
    """The dataset does not have this column or embedding."""


class BodyTooLarge(RequestError):
    """The body is longer than the route can use."""


class LimitExceeded(RequestError):
    """The request asks for more columns or cells than the configuration allows."""


class NotAcceptable(RequestError):
    """The client's Accept header excludes the only form the answer has."""


class UnsupportedMedia(RequestError):
    """The body's content type is not the one the route takes."""


class NotOffered(RequestError):
    """The configuration switches the feature off, or this server never offers it."""


class DatasetError(CxgError):
    """One dataset cannot be served; every other one can."""


class DatasetNotFound(DatasetError):
    """The dataroot has no dataset of that name."""


class DatasetReplaced(DatasetError):
    """The request names a version of the dataset that is no longer there."""


class DatasetInvalid(DatasetError):
    """The dataset is there, but damaged or not a CXG."""


class DatasetTooLarge(DatasetError):
    """The dataset is valid, but serving it takes more memory than the memory plan has."""


class StorageUnavailable(CxgError):
    """The dataroot did not answer in time, or refused; a retry is safe."""


class Busy(CxgError):
    """Too many requests for long work wait already; a retry is safe."""


class ConversionError(CxgError):
    """An input file cannot be turned into a CXG."""
