"""Sentences about the state of a dataset; some report a loss."""

from __future__ import annotations


class Loss(str):
    """A sentence about a part of the dataset that is not served, because it was lost or cannot be read."""

    __slots__ = ()
