"""One run of the command: which servers are started, in which order, and what each is asked."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator

from benchmarks import datasets, goals, many, scale, stages
from benchmarks.connection import BROWSER, IDENTITY
from benchmarks.floor import answer_s, byte_server, comparison_s
from benchmarks.results import FIRST, Results
from benchmarks.rounds import Run, ServerEnded
from benchmarks.sections import Sections, say
from benchmarks.servers import OURS, REFERENCE, Kind, running
from benchmarks.sizes import Data, Sizes

# In these our server takes turns with the published one.
COMPARED = ("latency", "diffexp", "busy", "load", "small", "memory")
SECTIONS = ("convert", *COMPARED, "floor", "profile", "many", "scale", "s3")


class Bench:
    """Measures the sections asked for.

    Parameters
    ----------
    wanted : some of `SECTIONS`
    results, sections : where it is written down
    port : first of the ports that the servers take; 0 takes free ones
    ours_only : leave the published server out
    keep : keep the large files of `scale`
    """

    def __init__(
        self,
        sizes: Sizes,
        wanted: frozenset[str],
        results: Results,
        sections: Sections,
        *,
        port: int = 0,
        ours_only: bool = False,
        keep: bool = False,
    ) -> None:
        self.sizes, self.wanted, self.results, self.sections = sizes, wanted, results, sections
        # A port that was just used may still be taken, so every server gets another one.
        self._ports = itertools.count(port) if port else itertools.repeat(0)
        self.ours = Kind(OURS)
        self.ours_only, self.keep = ours_only, keep

    def measure(self) -> None:
        """Everything, round by round, one server at a time.

        Raises
        ------
        RuntimeError, OSError
            A part failed; what was measured before it is saved.
        """
        if "scale" in self.wanted:
            scale.check_room(self.sizes.scale)
        self._data()
        for number in range(self.sizes.rounds):
            self._round(number)
        if "diffexp" in self.wanted:
            undecoded = Kind(OURS, environment=(("CXG_CACHE_MB", "0"),))
            with self._started(undecoded, self.sizes.big, 0, "rows not decoded") as run, self._part("diffexp", run):
                run.prepare()
                run.diffexp(undecoded=True)
        self.sections.finished()
        if "memory" in self.wanted:
            # Either form of the published server holds the whole matrix: one is enough.
            for kind in self._kinds(self.sizes.big)[:2]:
                with self._started(kind, self.sizes.big, 0, "memory") as run, self._part("memory", run):
                    run.memory()
        if "floor" in self.wanted:
            self._floor()
        self.sections.finished()
        self._ours_alone()

    def _kinds(self, data: Data) -> list[Kind]:
        """Servers in the order they take turns."""
        theirs = [] if self.ours_only else [Kind(REFERENCE, form) for form in data.formats]
        return [self.ours, *theirs]

    def _data(self) -> None:
        """Make and convert what is needed of the two datasets."""
        small = self.wanted & {"small"}
        for data, used in ((self.sizes.big, self.wanted - small - {"scale"}), (self.sizes.small, small)):
            theirs = bool(used & set(COMPARED)) and not self.ours_only
            for form in data.formats[: None if theirs else 1] if used else ():
                say(f"data: {data.name} {form}")
                datasets.make(data, form)
            if "convert" in used:
                with self.sections.measuring("convert"):
                    self.results.facts["convert"] = datasets.convert(data, again=True)
                self.sections.finished()
            elif used:
                datasets.convert(data, again=False)

    def _round(self, number: int) -> None:
        big = self.sizes.big
        if self.wanted & {"latency", "diffexp", "busy", "load"}:
            for kind in self._kinds(big):
                with self._started(kind, big, number) as run:
                    self._browser(run)
                if kind is self.ours and self.sizes.plain and self.wanted & {"latency", "load"}:
                    with self._started(kind, big, number, "plain answers") as run:
                        self._plain(run)
        if "small" in self.wanted:
            for kind in self._kinds(self.sizes.small):
                with self._started(kind, self.sizes.small, number) as run, self._part("small", run):
                    run.prepare()
                    run.throughput(goals.LOAD_SMALL, 8)

    def _browser(self, run: Run) -> None:
        """Answers asked for as browsers do."""
        if "latency" in self.wanted:
            with self._part("latency", run):
                run.start()
                run.latency(BROWSER)
                if run.server.kind.name == OURS:
                    run.latency_decoded(BROWSER)
        else:
            run.prepare()
        # All that follows is measured as on a server that has been in use for a while.
        run.decode()
        if "diffexp" in self.wanted:
            with self._part("diffexp", run):
                run.diffexp()
        if "busy" in self.wanted:
            with self._part("busy", run):
                run.busy()
        if "load" in self.wanted:
            with self._part("load", run):
                try:
                    run.throughput(goals.LOAD_8, 8)
                    run.throughput(goals.LOAD_64, 64)
                    run.throughput(goals.LOAD_NEW, 8, again=False)
                except ServerEnded as ended:
                    say(f"{ended}")
                    fallen = self.results.facts.setdefault("fallen", [])
                    fallen += [str(ended)] * (str(ended) not in fallen)

    def _plain(self, run: Run) -> None:
        """Uncompressed answers, which cellxgene 1.3.0 cannot send."""
        if "latency" in self.wanted:
            with self._part("latency", run):
                run.start()
                run.latency(IDENTITY)
                run.latency_decoded(IDENTITY)
        else:
            run.prepare()
        run.decode()
        if "load" in self.wanted:
            with self._part("load", run):
                run.throughput(goals.LOAD_PLAIN, 8, header=IDENTITY)

    def _part(self, section: str, run: Run) -> contextlib.AbstractContextManager[None]:
        """One stage of a section. What the published server did is a section of its own: either is measured alone."""
        ours = run.server.kind.name == OURS
        return self.sections.measuring(section if ours else f"{section}, {REFERENCE}")

    @contextlib.contextmanager
    def _started(self, kind: Kind, data: Data, number: int, note: str = "") -> Iterator[Run]:
        """A server that was never used: ours has nothing decoded on disk."""
        began = time.monotonic()
        with running(kind, data, next(self._ports), fresh_cache=kind.name == OURS) as server:
            yield Run(server, self.sizes, self.results, number)
        say(f"round {number + 1}: {kind.label} on {data.name}{note and f', {note}'}: {time.monotonic() - began:.0f} s")

    def _floor(self) -> None:
        """What the bytes of our answers cost, and one pass over the values of two sets."""
        say("floor")
        with self.sections.measuring("floor"), byte_server() as port:
            for row in goals.LATENCY:
                for encoding in ("browser", "identity"):
                    size = self.results.size(server=OURS, row=row.key, encoding=encoding, when=FIRST)
                    if size:
                        self.results.add("floor", "big", row.key, tuple(answer_s(port, int(size))), encoding=encoding)
            big = self.sizes.big
            if big.convert_from == "csr":
                cells = [size for size, _, _ in self.sizes.diffexp]
                for size, seconds in comparison_s(datasets.h5ad_path(big, "csr"), cells).items():
                    self.results.add("floor", "big", goals.random_row(size).key, tuple(seconds), when=FIRST)

    def _ours_alone(self) -> None:
        """Sections without a rival: where the time goes, many datasets, growth with the number of cells, data on S3."""
        if "profile" in self.wanted:
            say("profile")
            with self.sections.measuring("profile"):
                self.results.facts["profile"] = stages.measure(self.sizes, next(self._ports))
            self.sections.finished()
        if "many" in self.wanted:
            say("many")
            with self.sections.measuring("many"):
                self.results.facts["many"] = many.measure(self.sizes, next(self._ports))
            self.sections.finished()
        if "scale" in self.wanted:
            for data in self.sizes.scale:
                began = time.monotonic()
                with self.sections.measuring("scale"):
                    kept = self.keep or data == self.sizes.big
                    found = scale.measure(data, self.sizes, self._ports, keep=kept)
                    self.results.facts.setdefault("scale", []).append(found)
                say(f"scale: {data.cells:,} cells: {time.monotonic() - began:.0f} s")
            self.sections.finished()
        if "s3" in self.wanted:
            # Loaded here: it needs packages that only the integration tests bring, and Docker.
            from benchmarks import s3

            say("s3")
            with self.sections.measuring("s3"):
                self.results.facts["s3"] = s3.measure(self.sizes.big)
            self.sections.finished()
