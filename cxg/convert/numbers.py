"""Numbers of a column as int32, float32 or, where neither keeps them apart, text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.convert.report import Report
from cxg.convert.text import from_strings
from cxg.format.text import Text

FLOAT32_WHOLE = 1 << 24
"""Whole numbers up to this are exact as float32."""
FLOAT64_WHOLE = 1 << 53
"""The same for float64; a larger number is a measured size, not a count or identifier."""
_INT32 = np.iinfo(np.int32)
# A histogram would show a rounding error larger than this part of the values' spread.
_VISIBLE = 1e-3


def store_numbers(
    values: NDArray[Any], missing: NDArray[np.bool_] | None, subject: str, report: Report
) -> tuple[NDArray[Any] | Text, str]:
    """Choose how a column of numbers is stored, and report losses.

    Parameters
    ----------
    values : (n,) integer or float
    missing : (n,) bool, or None
        True where there is no value.
    subject : str
        The column, for the report.

    Returns
    -------
    values : (n,) int32 or float32, or text
    type : "int32", "float32" or "string"
    """
    gone = np.zeros(len(values), bool) if missing is None else missing
    if values.dtype.kind != "f":
        return _whole(values, gone, subject, report)
    gone = gone | np.isnan(values)
    if values.dtype.itemsize <= 4 or not _are_whole(values[~gone]) or is_exact(values[~gone]):
        return _to_float32(np.where(gone, np.nan, values), subject, report), "float32"
    if not np.isfinite(values[~gone]).all():
        _warn_rounded(subject, report)
        return np.where(gone, np.nan, values).astype(np.float32), "float32"
    return _whole(np.where(gone, 0, values).astype(np.int64), gone, subject, report)


def is_exact(numbers: NDArray[Any]) -> bool:
    """Tell whether float32 holds these whole numbers exactly; it holds infinite ones."""
    finite = numbers[np.isfinite(numbers)]
    if not finite.size or (finite.min() >= -FLOAT32_WHOLE and finite.max() <= FLOAT32_WHOLE):
        return True
    if finite.min() < -FLOAT64_WHOLE or finite.max() > FLOAT64_WHOLE:
        return False
    return bool(np.array_equal(finite.astype(np.float32).astype(np.float64), finite.astype(np.float64)))


def _are_whole(numbers: NDArray[Any]) -> bool:
    finite = numbers[np.isfinite(numbers)]
    return bool(np.array_equal(finite, np.rint(finite)) and np.all(np.abs(finite) <= FLOAT64_WHOLE))


def _whole(
    values: NDArray[Any], gone: NDArray[np.bool_], subject: str, report: Report
) -> tuple[NDArray[Any] | Text, str]:
    there = values[~gone]
    is_full = there.size == values.size
    if is_full and there.min() >= _INT32.min and there.max() <= _INT32.max:
        return values.astype(np.int32), "int32"
    lossless = is_exact(there)
    if (is_full or not lossless) and np.unique(there).size == there.size > 1:
        report.warn(
            "integer_as_text",
            subject,
            "Its whole numbers would lose digits as float32 and all differ: stored as text, as identifiers.",
        )
        return from_strings("" if no else str(value) for value, no in zip(values.tolist(), gone, strict=True)), "string"
    if is_full or not lossless:
        _warn_rounded(subject, report)
    else:
        report.info(
            "missing_number",
            subject,
            f"{int(gone.sum())} missing whole numbers are NaN now; the column became float32.",
        )
    out = values.astype(np.float32)
    out[gone] = np.nan
    return out, "float32"


def _warn_rounded(subject: str, report: Report) -> None:
    text = "Its whole numbers exceed 24 bits: stored as float32, exact to about 7 digits."
    report.warn("integer_as_float", subject, text)


def _to_float32(values: NDArray[Any], subject: str, report: Report) -> NDArray[np.float32]:
    if values.dtype.itemsize <= 4:
        return values.astype(np.float32)
    with np.errstate(over="ignore"):
        out = values.astype(np.float32)
    is_finite = np.isfinite(out)
    lost = int(np.count_nonzero(np.isinf(out) & np.isfinite(values)))
    if lost:
        report.warn("float_overflow", subject, f"{lost} values are too large for float32 and became infinite.")
    before, after = values[is_finite], out[is_finite]
    if np.array_equal(before, after):
        return out
    error, spread = float(np.max(np.abs(before - after))), float(np.ptp(before))
    if 0 < _VISIBLE * spread < error:
        text = f"Stored as float32, which moves values by up to {error:.2g} where they span {spread:.2g}."
        report.warn("float64_rounded", subject, text)
    elif not lost:
        report.info("float64_to_float32", subject, "Stored as float32: about 7 digits are kept.")
    return out
