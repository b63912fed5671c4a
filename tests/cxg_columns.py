"""Columns of obs and var for the CXGs that `tests.cxgs` builds: one of every kind a CXG can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ODD_GENES = ("g,1", "g:2", "g 3", "g%4", "g&5", "é6", "g+7", 'g"8', "g=9")
ODD_COLUMNS = ("S1 COL6A5+", "a/b ü", "x:y,z&w=v%20")


@dataclass(frozen=True)
class Kind:
    """How one generation of writers laid a CXG out.

    Attributes
    ----------
    version : str, or None
        Claimed version; None for files without group metadata, which count as 0.0.
    x : {"Xr/Xc", "dense", "sparse", "shift"}
        Arrays that hold X; "shift" is sparse beside `X_col_shift`.
    coded : bool
        Whether categorical columns are integer codes rather than text.
    hints : {"few", "more", "all"}
        Which columns have a type in `cxg_schema`: text and categories, booleans as well, or all.
    """

    version: str | None
    x: str
    coded: bool
    hints: str


@dataclass(frozen=True)
class TruthColumn:
    """What reading a column must give.

    Attributes
    ----------
    type : str
        As the schema route calls it.
    values : list
        One for each row: text, bool, int or float; None for a missing label, NaN for a missing number.
    categories : list, or None
        Labels that the file lists, unused ones included.
    """

    type: str
    values: list[Any]
    categories: list[Any] | None = None


@dataclass(frozen=True)
class Stored:
    """One column as it is written, with the hint that says what it means, and the truth."""

    name: str
    array: Array
    hint: dict[str, Any]
    truth: TruthColumn


def obs_columns(rng: np.random.Generator, n: int, layout: Kind) -> list[Stored]:
    numbers = rng.normal(50, 20, n).astype(np.float32)
    numbers[n // 2] = np.nan
    wide = rng.integers(2**40, 2**45, n)
    columns = [
        _text("name_0", [f"cell{i}-{seed}" for i, seed in enumerate(rng.integers(0, 10**6, n).tolist())]),
        _number("number", numbers),
        _number("count", rng.integers(-5, 5000, n).astype(np.int32)),
        _number("small", rng.integers(-100, 100, n).astype(np.int8)),
        _number("precise", rng.normal(size=n)),
        _category("label", rng.integers(0, 3, n), ["T/NK cells", "B cells", "CD14+ Mo", "unused"], layout),
        _category("named nan", rng.integers(0, 3, n), ["b", "a", "nan"], layout),
        _text("note", [f'{word} "{i % 3}"\n' if i % 4 else "" for i, word in enumerate(["ä", "b\\", "c"] * n)][:n]),
        _category(ODD_COLUMNS[0], rng.integers(0, 2, n), ["No", "Yes"], layout),
        _number(ODD_COLUMNS[1], rng.integers(0, 9, n).astype(np.int32)),
        _number(ODD_COLUMNS[2], np.full(n, np.nan, np.float32)),
    ]
    if layout.version is not None:
        columns += [
            _flag("flag", rng.random(n) < 0.5),
            _flag("all true", np.ones(n, np.bool_)),
            _flag("all false", np.zeros(n, np.bool_)),
        ]
    if layout.coded:
        batch = rng.integers(0, 4, n).astype(np.int32)
        score = np.where(rng.random(n) < 0.3, np.nan, rng.integers(0, 3, n) / 2).astype(np.float32)
        columns += [
            _category("missing", rng.integers(-1, 2, n), ["x", "y"], layout),
            _category("maybe", rng.integers(0, 3, n), ["False", "True", "nan"], layout),
            _category("many", rng.integers(0, 300, n), [f"m{i}" for i in range(299, -1, -1)], layout),
            Stored("batch", batch, {"type": "categorical"}, TruthColumn("categorical", batch.tolist())),
            Stored("score", score, {"type": "categorical"}, TruthColumn("categorical", score.tolist())),
            Stored("wide", wide, {"type": "int64"}, TruthColumn("float32", wide.astype(float).tolist())),
        ]
    return columns


def var_columns(n: int, layout: Kind, *, feature_name: bool) -> list[Stored]:
    names = [f"gene{i}" for i in range(n)]
    if n > 20:
        names[-len(ODD_GENES) :] = ODD_GENES
    identifiers = [f"ENSG{i:011}" for i in range(n)]
    columns = [_text("name_0", identifiers if feature_name else names)]
    if feature_name:
        columns.append(_text("feature_name", names))
    columns.append(_number("number", np.arange(n, dtype=np.int32) * 10))
    columns.append(_number("score", np.linspace(0, 1, n).astype(np.float32)))
    columns.append(_category("biotype", np.arange(n) % 2, ["gene", "spike-in"], layout))
    if layout.version is not None:
        columns.append(_flag("feature_is_filtered", np.arange(n) % 5 == 0))
    return columns


def _text(name: str, values: list[str]) -> Stored:
    return Stored(name, np.array(values, dtype="U"), {"type": "string"}, TruthColumn("string", values))


def _number(name: str, values: Array) -> Stored:
    kind = "float32" if values.dtype.kind == "f" else "int32"
    read = values.astype(np.float32) if values.dtype.kind == "f" else values
    return Stored(name, values, {"type": kind}, TruthColumn(kind, read.tolist()))


def _flag(name: str, values: Array) -> Stored:
    return Stored(name, values.astype(np.uint8), {"type": "boolean"}, TruthColumn("boolean", values.tolist()))


def _category(name: str, codes: Array, labels: list[str], layout: Kind) -> Stored:
    truth = TruthColumn("categorical", [labels[code] if code >= 0 else None for code in codes.tolist()], labels)
    # Version 0.0 called the type of a categorical column "string".
    hint = {"type": "categorical" if layout.version else "string", "categories": labels}
    coded = codes.astype(np.int8 if len(labels) <= 127 else np.int16)
    return Stored(name, coded if layout.coded else np.array(truth.values, dtype="U"), hint, truth)
