"""How much memory a worker keeps after many reads and openings; run as a program, so that nothing else is measured.

It prints one JSON object: kB of anonymous memory that came on top in the second half of each.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cxg import memory
from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.storage import contexts
from cxg.web.app import create_app
from tests import cxgs
from tests.served import stand_in_client

GENES = 40


def anonymous_kb() -> int:
    """Anonymous memory of this process after a collection, without what the C library keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Anonymous:")))


def second_half_kb(times: int, work: Callable[[int], None]) -> int:
    """What the second half of some work adds."""
    for number in range(times // 2):
        work(number)
    before = anonymous_kb()
    for number in range(times // 2, times):
        work(number)
    return anonymous_kb() - before


def main() -> None:
    """Read, open, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=int, required=True)
    parser.add_argument("--opens", type=int, required=True)
    parser.add_argument("--most-uses", type=int, default=contexts.MOST_USES)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    for name in ("a.cxg", "b.cxg"):
        cxgs.build(folder / "root" / name, n_obs=30, n_var=GENES, embeddings=("umap",))
    config = load("", {"CXG_DATAROOT": str(folder / "root")}, "test").config
    # No answer is kept, and no copy is made: every request reads.
    plan = memory.MemoryPlan(total_mb=1000, workers=1, threads=8, answers_mb=0)
    app = create_app(config, stand_in_client(folder / "client"), Runtime.of({"CXG_CACHE_MB": "0"}), plan)
    client, catalog = app.test_client(), app.extensions["cxg"].catalog
    catalog.storage.contexts.most_uses = args.most_uses
    urls = (
        *("/d/a.cxg/api/v0.2/data/var?var:name_0=gene1", "/d/a.cxg/api/v0.2/layout/obs?layout-name=umap"),
        *(
            "/d/b.cxg/api/v0.2/annotations/obs?annotation-name=name_0",
            "/d/b.cxg/api/v0.2/summarize/var?var:name_0=gene2",
        ),
    )

    def read(number: int) -> None:
        answer = client.get(urls[number % len(urls)])
        if answer.status_code != 200:
            sys.exit(f"{answer.status_code} {answer.text}")

    def open_again(_: int) -> None:
        with catalog.lease("a.cxg") as dataset:
            dataset.read_embedding("umap")
        catalog.close()

    found = {"reads": second_half_kb(args.reads, read), "opens": second_half_kb(args.opens, open_again)}
    sys.stdout.write(json.dumps({**found, "generation": catalog.storage.contexts.generation}) + "\n")


if __name__ == "__main__":
    main()
