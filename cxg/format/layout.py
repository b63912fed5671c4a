"""The CXG format as constants: names of arrays, attributes and metadata keys, shared by reader and writer.

A CXG is a TileDB group. `obs` and `var` are dense arrays with one attribute for each
column; the matrix is `X` (dense or sparse), or the pair `Xr` (by cell) and `Xc` (by
gene); embeddings are arrays below `emb`. ``docs/cxg.md`` describes it for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

CXG_VERSION = "0.3.0"
"""Version our converter writes. Readers choose by the arrays found, never by this."""
KNOWN_VERSIONS = frozenset({"0.0", "0.1", "0.2.0", "0.3.0"})

OBS = "obs"
VAR = "var"
X = "X"
X_ROWS = "Xr"
X_COLUMNS = "Xc"
X_COL_SHIFT = "X_col_shift"
X_TOTALS = "X_totals"
X_LABEL_SUMS = "X_label_sums"
EMB = "emb"
UNS = "uns"
GROUP_METADATA = "cxg_group_metadata"

VALUE = ""
"""Name of the attribute that holds the numbers of X, Xr, Xc and the embeddings."""

# Metadata of cxg_group_metadata; every value is text.
VERSION_KEY = "cxg_version"
PROPERTIES_KEY = "cxg_properties"
COLORS_KEY = "cxg_category_colors"
CORPORA_KEY = "corpora"

# Metadata of obs and var.
SCHEMA_KEY = "cxg_schema"
INDEX_HINT = "index"
GENESETS_KEY = "genesets"
"""Of obs: JSON list of gene sets."""

INDEX_STEM = "name_"
"""Our index column is called `name_0`, or the first `name_<n>` that is free."""

# X_totals: sums per gene over all cells, so that "a set against the rest" reads only the set.
TOTAL_SUM = "sum"
TOTAL_SQUARES = "sum_squares"
TRANSFORM_KEY = "transform"
TRANSFORM_NONE = "none"
TRANSFORM_LOG1P = "log1p"
MIN_KEY = "min"
MAX_KEY = "max"

# X_label_sums: the same sums over the cells of each label, a row for each label of the columns that this key lists.
LABELS_KEY = "columns"
LABELS_NAME = "name"
LABELS_COUNTS = "counts"
LABELS_CHECKSUM = "codes_crc32"
LABEL_ROW = "label"

COUNT_RANGE = 24.0
"""X with a wider range of values than this, none negative, is taken for counts; ln(1+x) is applied before a t-test."""

# Metadata of an embedding: JSON list of what is to be added to each of its columns to have the file's coordinates.
OFFSET_KEY = "offset"
FAR = 16.0
"""Coordinates further from 0 than this many times their extent are moved there: float32 would show its steps."""

GROUP_MARKER = "__tiledb_group.tdb"
SCHEMA_FOLDER = "__schema"
OLD_SCHEMA = "__array_schema.tdb"
COMMITS_FOLDER = "__commits"
RESERVED_PREFIX = "__"
"""TileDB reserves names that begin with this."""

MARKS = (GROUP_MARKER, GROUP_METADATA, f"{OBS}/{SCHEMA_FOLDER}", f"{OBS}/{OLD_SCHEMA}")
"""A folder that holds one of these is a CXG, whole or damaged."""
MEMBERS = frozenset({OBS, VAR, X, X_ROWS, X_COLUMNS, X_COL_SHIFT, X_TOTALS, X_LABEL_SUMS, EMB, UNS, GROUP_METADATA})
"""Names of the members of a CXG."""


def looks_like_counts(minimum: float, maximum: float) -> bool:
    """Tell whether a matrix with these finite extremes (absent entries count as 0) is to be log-transformed."""
    return minimum >= 0 and maximum - minimum > COUNT_RANGE


def is_far(minimum: float, maximum: float) -> bool:
    """Tell whether coordinates between these are so far from 0 that float32 shifts them by a millionth of the plot."""
    return 0 < maximum - minimum < max(-minimum, maximum) / FAR


def encode_hints(index: str, hints: Mapping[str, Mapping[str, Any]]) -> str:
    """Encode the JSON text of `cxg_schema`: the name of the index column, then one hint for each column."""
    return json.dumps({INDEX_HINT: index, **hints}, ensure_ascii=False, allow_nan=False)
