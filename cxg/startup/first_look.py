"""What is wrong with the datasets, for the console at the start; a visitor would only meet it later.

The start waits for it no longer than a fixed time, however many datasets there are and however slow their storage is.
`cxg doctor` looks at all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from cxg.config import Config
from cxg.config.runtime import Runtime
from cxg.datasets.dataroot import Dataroot, SingleRoot
from cxg.errors import CxgError, DatasetInvalid, DatasetNotFound
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.notes import Loss
from cxg.memory import plan
from cxg.storage.storage import Storage

WITHIN_S = 2.0
_MOST_LINES = 12


class FirstLook:
    """A look at each dataset in turn, in the background.

    Attributes
    ----------
    problems : {name: sentence} of the datasets that cannot be served, or lack something
    looked_at, total : int
        How many datasets were opened, and how many there are.
    unopened : str or None
        Why the one dataset of a server cannot be opened; None for a dataroot.
    """

    def __init__(self, config: Config, runtime: Runtime) -> None:
        self._config, self._runtime = config, runtime
        self.problems: dict[str, str] = {}
        self.looked_at = self.total = 0
        self.unopened: DatasetInvalid | None = None
        self._ended_s = float("inf")

    def run(self, within_s: float = WITHIN_S) -> None:
        """Look until all were looked at or the time is over."""
        self._ended_s = time.monotonic() + within_s
        # What hangs is left behind: the process becomes the server, which has none of its threads.
        thread = threading.Thread(target=self._look, daemon=True, name="first look")
        thread.start()
        thread.join(within_s)

    def lines(self) -> Iterator[str]:
        """Return the sentences for the console."""
        # Taken at once, as the look may still go on.
        problems, looked_at = list(self.problems.items()), self.looked_at
        for name, sentence in problems[:_MOST_LINES]:
            yield f"{name}: {sentence}"
        if len(problems) > _MOST_LINES:
            yield f"and {len(problems) - _MOST_LINES:,} more datasets have something wrong: run cxg doctor."
        if looked_at < self.total:
            yield f"only {looked_at:,} of {self.total:,} datasets were looked at in time: run cxg doctor for all."

    def _look(self) -> None:
        storage = Storage(self._config, self._runtime, dataset_mb=plan(self._runtime).dataset_mb)
        dataroot, datapath = self._config.multi_dataset.dataroot, str(self._config.single_dataset.datapath)
        root = Dataroot(storage, dataroot) if dataroot else SingleRoot(storage, datapath)
        try:
            names = root.names()
        except CxgError:  # told by those who ask whether the dataroot can be listed
            return
        self.total = len(names)
        for name in names:
            if time.monotonic() > self._ended_s:
                return
            try:
                uri = root.dataset_uri(name)
                dataset = open_dataset(storage, uri, name)
            except DatasetNotFound:  # removed meanwhile, or not there yet
                pass
            except CxgError as error:
                self.problems[name or datapath] = str(error)
                if not name and isinstance(error, DatasetInvalid):
                    self.unopened = error
            else:
                problem = wrong_with(dataset)
                dataset.close()
                if problem is not None:
                    self.problems[name or datapath] = problem
            self.looked_at += 1


def wrong_with(dataset: Dataset) -> str | None:
    """Say what an open dataset lacks, one sentence after the other; None when it lacks nothing."""
    told = [dataset.view_problem, dataset.x_problem, *(text for text in dataset.warnings if isinstance(text, Loss))]
    distinct = list(dict.fromkeys(text for text in told if text))
    # What keeps it from being shown quotes what was lost.
    kept = [text for text in distinct if not any(text != other and text in other for other in distinct)]
    return " ".join(kept) or None
