"""What a dataset says about itself beside its data: sentences, some of which tell of a loss."""

from __future__ import annotations


class Loss(str):
    """A sentence about something that should be in the dataset and is not served: it was lost or cannot be read."""

    __slots__ = ()
