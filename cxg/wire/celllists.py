"""Lists of cells in a JSON body, taken out while the body is read, so that it is never in memory as a whole.

Parsing digits block by block is several times as fast as number by number, as the JSON parser does.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cxg.errors import BadFilter, BodyTooLarge
from cxg.format.selection import BoolArray, IntArray, index_rows
from cxg.wire.filters import json_index, parse_json_body

Read = Callable[[int], bytes]
"""Returns at most the given number of further bytes of a body; none at its end."""

# Lists that end within one piece are short.
PIECE_BYTES = 64 << 10
# Most bytes of a body beside its long lists of cells.
OTHER_BYTES = 1_000_000
# A comparison has two long lists. Keys called `index` beyond the second number are left to the JSON parser.
_MOST_LISTS, _MOST_LOOKED_AT = 2, 16
_INDEX_LIST = re.compile(rb'"index"\s*:\s*\[')
_ITEMS = re.compile(rb"(?:\d+|\[\d+,\d+\])(?:,(?:\d+|\[\d+,\d+\]))*")
_SPACES, _SPLIT_NUMBER = b" \t\r\n", re.compile(rb"\d\s+\d")
_POWERS_OF_TEN = [10**k for k in range(1, 19)]
_OPEN, _CLOSE, _COMMA = b"[],"


def cut_out_lists(read: Read, n_obs: int) -> tuple[bytes, dict[str, IntArray]]:
    """Read a body, and replace lists of cells under a key ``index`` by texts that no client can guess.

    Parameters
    ----------
    read : Read
    n_obs : int
        Number of cells; the memory for a list depends on it, not on the list's length.

    Returns
    -------
    body : bytes
        The rest of the body.
    lists : {text: (k,) int64}
        Positions; those of long lists are ascending, each once.

    Raises
    ------
    BadFilter
        A list holds something other than positions and ranges of cells, or there are too many lists.
    BodyTooLarge
        The body is too long beside its lists.
    """
    body, kept, done, looked = _Body(read), bytearray(), 0, 0
    lists: dict[str, IntArray] = {}
    while True:
        match = _INDEX_LIST.search(body.text, done) if looked < _MOST_LOOKED_AT else None
        if match is None:
            if not body.fill(len(body.text) + 1):
                break
        else:
            looked, done = looked + 1, match.end()
            positions = _take_list(body, done, n_obs)
            if positions is not None:
                name = secrets.token_hex(16)
                kept += body.text[: done - 1] + f'"{name}"'.encode()
                del body.text[:done]
                lists[name], done = positions, 0
        if len(kept) + len(body.text) > OTHER_BYTES + PIECE_BYTES:
            raise BodyTooLarge(f"Beside its lists of cells, a body may have {OTHER_BYTES:,} bytes at most.")
    return bytes(kept + body.text), lists


class _Body:
    """A body, and the bytes of it that were read but not yet used."""

    def __init__(self, read: Read) -> None:
        self._read, self._ended = read, False
        self.text = bytearray()
        self.long_lists = 0

    def fill(self, size: int) -> bool:
        """Read on until there are `size` bytes; return False if the body ends before."""
        while len(self.text) < size and not self._ended:
            part = self._read(PIECE_BYTES)
            self._ended = not part
            self.text += part
        return len(self.text) >= size


def _take_list(body: _Body, start: int, n_obs: int) -> IntArray | None:
    """Take out a list that begins after its bracket at `start`; None leaves it to the JSON parser."""
    goes_on = body.fill(start + PIECE_BYTES + 1)
    window = bytes(body.text[start : start + PIECE_BYTES])
    end = _end(window)
    if end is not None:
        numbers, ranges = _plain_items(window[:end])
        if numbers is None or ranges.size:
            return None
        del body.text[start : start + end + 1]
        return numbers
    if not goes_on:
        return None
    body.long_lists += 1
    if body.long_lists > _MOST_LISTS:
        raise BadFilter(f"The body holds more than {_MOST_LISTS} long lists of cells; it needs one for each set.")
    return _read_list(body, start, n_obs)


def _read_list(body: _Body, start: int, n_obs: int) -> IntArray:
    cells = _Cells(n_obs)
    while True:
        body.fill(start + PIECE_BYTES)
        window = bytes(body.text[start : start + PIECE_BYTES])
        end = _end(window)
        cut = _last_comma(window) if end is None else end
        if cut < 0:
            raise BadFilter("The body is not JSON: a list of cells does not end, or does not hold only numbers.")
        cells.add(window[:cut])
        del body.text[start : start + cut + 1]
        if end is not None:
            return cells.positions()


class _Cells:
    """The cells of one list."""

    def __init__(self, n_obs: int) -> None:
        self._n_obs = n_obs
        self._mask: BoolArray = np.zeros(n_obs, np.bool_)
        # For each cell, the ranges that begin there less those that end before it; made at the first range.
        self._edges: NDArray[np.int32] | None = None

    def add(self, text: bytes) -> None:
        numbers, starts = _plain_items(text)
        if numbers is None:
            items = json_index(parse_json_body(b"[" + text + b"]"))
            if not items:
                raise BadFilter("The body is not JSON: a list of cells has a comma without a number.")
            pairs = [item for item in items if isinstance(item, tuple)]
            self._add_ranges(*(np.array([min(pair[end], self._n_obs) for pair in pairs], np.int64) for end in (0, 1)))
            singles: IntArray = index_rows([item for item in items if not isinstance(item, tuple)], self._n_obs)
        else:
            self._add_ranges(numbers[starts], numbers[starts + 1])
            singles = np.delete(numbers, np.concatenate((starts, starts + 1))) if starts.size else numbers
        if singles.size:
            if int(singles.max()) >= self._n_obs:
                index_rows(singles, self._n_obs)  # raises, and names it
            self._mask[singles] = True

    def _add_ranges(self, starts: IntArray, stops: IntArray) -> None:
        whole = starts < stops
        if not whole.any():
            return
        if self._edges is None:
            self._edges = np.zeros(self._n_obs + 1, np.int32)
        np.add.at(self._edges, np.minimum(starts[whole], self._n_obs), 1)
        np.subtract.at(self._edges, np.minimum(stops[whole], self._n_obs), 1)

    def positions(self) -> IntArray:
        if self._edges is not None:
            self._mask |= np.cumsum(self._edges, out=self._edges)[:-1] > 0
            self._edges = None
        return np.flatnonzero(self._mask)


def _plain_items(text: bytes) -> tuple[IntArray | None, IntArray]:
    """Parse the numbers of positions and ranges, and find which begin a range; None leaves it to the JSON parser."""
    none = np.zeros(0, np.int64)
    starts = none
    if b"[" in text:
        packed = text.translate(None, _SPACES)
        if not _ITEMS.fullmatch(packed) or _SPLIT_NUMBER.search(text):
            return None, none
        codes = np.frombuffer(packed, np.uint8)
        starts = np.cumsum(codes == _COMMA)[codes == _OPEN]
        text = packed.translate(None, b"[]")
    digits = text.translate(None, _SPACES + b",")
    if not digits.isdigit():
        return None, none
    try:
        numbers = np.fromstring(text, dtype=np.int64, sep=",")
    except ValueError:
        return None, none
    # numpy accepts a trailing comma and leading zeros, and clips numbers that do not fit. Counting the
    # commas, and the digits that the numbers need, detects all of these.
    needed = numbers.size + sum(np.count_nonzero(numbers >= power) for power in _needed_powers(numbers))
    is_plain = needed == len(digits) and text.count(b",") == numbers.size - 1
    return (numbers, starts) if is_plain else (None, none)


def _needed_powers(numbers: IntArray) -> list[int]:
    largest = int(numbers.max()) if numbers.size else 0
    return [power for power in _POWERS_OF_TEN if power <= largest]


def _end(text: bytes) -> int | None:
    """Find the end of a list whose opening bracket is before the text; None when the list goes on."""
    end = text.find(b"]")
    if end < 0 or text.find(b"[", 0, end) < 0:
        return end if end >= 0 else None
    below = np.flatnonzero(_depths(text) < 0)
    return int(below[0]) if below.size else None


def _last_comma(text: bytes) -> int:
    """Find the last comma outside inner lists; -1 when there is none."""
    if b"[" not in text:
        return text.rfind(b",")
    commas = np.flatnonzero((np.frombuffer(text, np.uint8) == _COMMA) & (_depths(text) == 0))
    return int(commas[-1]) if commas.size else -1


def _depths(text: bytes) -> NDArray[np.int32]:
    """Count the inner lists that are open after each byte."""
    codes = np.frombuffer(text, np.uint8)
    return np.cumsum((codes == _OPEN).astype(np.int8) - (codes == _CLOSE), dtype=np.int32)
