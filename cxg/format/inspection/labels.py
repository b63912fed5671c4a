"""Looks whether the sums over the cells of each label, `X_label_sums`, belong to obs and X."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cxg.errors import CxgError, DatasetInvalid, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.format.inspection.every_value import GeneSums
from cxg.format.inspection.findings import Inspection
from cxg.format.layout import X_COLUMNS, X_LABEL_SUMS, X_ROWS, X
from cxg.format.matrix.label_sums import LabelSums, codes_of


def check_label_sums(dataset: Dataset, sums: Mapping[str, GeneSums], out: Inspection) -> list[str]:
    """Compare the stored sums of labels with the cells of each label, and their totals with those of X.

    Parameters
    ----------
    sums : mapping of str to GeneSums
        Sums of the arrays of X that were read.

    Returns
    -------
    Columns whose labels have sums.
    """
    try:
        found = dataset.open_label_sums()
    except DatasetInvalid as error:
        # What is wrong with its files was found before.
        if not any(finding.subject == X_LABEL_SUMS for finding in out.findings):
            out.error(X_LABEL_SUMS, str(error))
        return []
    if found is None:
        return []
    try:
        _check_columns(dataset, found, sums, out)
    except (DatasetInvalid, StorageUnavailable) as error:  # damage may look like a lack of memory
        if not any(finding.subject == X_LABEL_SUMS for finding in out.findings):
            out.error(X_LABEL_SUMS, str(error))
    finally:
        found.close()
    return [column.name for column in found.columns]


def _check_columns(dataset: Dataset, found: LabelSums, sums: Mapping[str, GeneSums], out: Inspection) -> None:
    x = sums.get(X_COLUMNS) or sums.get(X_ROWS) or sums.get(X)
    totals = dataset.totals
    for column in found.columns:
        try:
            values = dataset.obs.read(column.name)
        except CxgError:
            values = None
        if values is None or codes_of(column, values) is None:
            text = f"Its sums of column {column.name!r} are of other cells than obs has; remove the folder"
            out.error(X_LABEL_SUMS, f"{text} {X_LABEL_SUMS}.")
            continue
        total, _ = found.add_up(column.first + np.arange(len(column.counts)))
        expected = x.total if x is not None and not found.log1p else None
        if totals is not None and totals.log1p == found.log1p:
            expected = totals.total
        if expected is None:
            continue
        count = int(np.count_nonzero(~np.isclose(total, expected, rtol=1e-5, atol=1e-3, equal_nan=True)))
        if count:
            text = f"Its sums of column {column.name!r} are not those of X for {count:,} genes; remove the folder"
            out.error(X_LABEL_SUMS, f"{text} {X_LABEL_SUMS}.")
