"""The body of a request, read only as far as its route can use it, whatever length it declares."""

from __future__ import annotations

from flask import request
from werkzeug.wsgi import get_input_stream

from cxg.errors import BodyTooLarge
from cxg.memory_bounds import FILTER_BYTES, SMALL_BODY_BYTES
from cxg.web.limits.admission import Admission

_PIECE_BYTES = 64 << 10


class Body:
    """The body of the current request, not read yet.

    Parameters
    ----------
    most_bytes : int
        Most bytes that the route can use.
    reason : str
        Why the route needs no more, as the end of a sentence.

    Raises
    ------
    BodyTooLarge
        The request declares a longer body.
    """

    def __init__(self, most_bytes: int, reason: str) -> None:
        self._most_bytes, self._reason = most_bytes, reason
        declared = request.content_length
        if declared is not None and declared > most_bytes:
            raise self._too_large()
        self.announced_bytes = most_bytes if declared is None else declared
        # Of a chunked body one byte too many is read, to detect a body that goes on beyond the limit.
        self._left_bytes = most_bytes + 1 if declared is None else declared
        # This class checks the limit: Werkzeug's own check cuts a chunked body off without an error.
        self._stream = get_input_stream(request.environ)

    def read(self, size: int) -> bytes:
        """Read up to `size` more bytes; none at the end.

        Raises
        ------
        BodyTooLarge
            The body goes on beyond the limit.
        """
        part: bytes = self._stream.read(min(size, self._left_bytes))
        self._left_bytes -= len(part)
        if request.content_length is None and self._left_bytes == 0:
            raise self._too_large()
        return part

    def read_all(self) -> bytes:
        """Read the whole body.

        Raises
        ------
        BodyTooLarge
            The body goes on beyond the limit.
        """
        whole = bytearray()
        while part := self.read(_PIECE_BYTES):
            whole += part
        return bytes(whole)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body of this request may have {self._most_bytes:,} bytes at most: {self._reason}.")


def read_filter_body(reason: str, work: Admission) -> bytes:
    """Read the body of a request for some genes, or for a set of them; raises BodyTooLarge, with `reason`."""
    body = Body(FILTER_BYTES, reason)
    # In memory twice: as it arrives, and as it is returned.
    with work.memory(2 * body.announced_bytes if body.announced_bytes > SMALL_BODY_BYTES else 0):
        return body.read_all()


def discard_body() -> None:
    """Read and drop a body of usual length, so that the connection stays usable after a refusal."""
    length = request.content_length
    if length is not None and length <= FILTER_BYTES:
        body = Body(length, "it was announced so")
        while body.read(_PIECE_BYTES):
            pass
