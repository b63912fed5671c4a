"""One soak from beginning to end: servers, visitors, a calm, the disturbances, another calm, the judgement."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration import gate, minio
from tests.integration.launched import Launched, launched
from tests.soak import hostility, oracle, visitors
from tests.soak.datasets import ALL
from tests.soak.findings import Happened
from tests.soak.judge import Answer, Right
from tests.soak.limits import Limit, limited
from tests.soak.places import Bucket, Disturbed, Folder, Place
from tests.soak.schedule import FILES, FOLDER, HANG, REFUSE, Event
from tests.soak.timeline import Span
from tests.soak.watch import Watch

WORKERS, CACHE_MB = 2, 50
_BUCKET, _PREFIX = "datasets", "data"
_SPAWN = multiprocessing.get_context("spawn")


class Wanted(NamedTuple):
    """What is asked of a soak.

    Attributes
    ----------
    folder : Path
        Everything is kept below it.
    soak_s, calm_s : float
        The calm comes before, and once more afterwards.
    events : tuple of Event
    servers : tuple of str
    visitors : int
        For each server.
    limit_mb : int
        Memory of each server.
    """

    folder: Path
    soak_s: float
    calm_s: float
    seed: int
    events: tuple[Event, ...]
    servers: tuple[str, ...]
    visitors: int
    limit_mb: int


class Subject(NamedTuple):
    """A server under test and what belongs to it."""

    server: Launched
    limit: Limit
    place: Disturbed
    watch: Watch
    gate: gate.Gate | None


class Outcome(NamedTuple):
    """What came of it; spans as `time.monotonic` tells time."""

    answers: list[Answer]
    told: list[hostility.Told]
    happened: list[Happened]
    right: dict[str, dict[str, Right]]
    before: Span
    soak: Span
    after: Span


def say(line: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"[{time.strftime('%X')}] {line}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def store(folder: Path) -> Iterator[minio.Store]:
    """An S3 server: the program named in `MINIO_PROGRAM`, or `minio` on the path, or a container."""
    # The container is removed here, so that its helper need not be fetched.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    program = os.environ.get("MINIO_PROGRAM") or shutil.which("minio")
    with minio.running_program(program, folder) if program else minio.running() as found:
        yield found


@contextlib.contextmanager
def subjects(wanted: Wanted, versions: Path) -> Iterator[dict[str, Subject]]:
    """Run the servers until the block ends."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in wanted.servers:
            folder = wanted.folder / name
            place: Place
            if name == FOLDER:
                dataroot, way, settings = str(folder / "data"), None, {}
                place = Folder(versions, folder / "data")
            else:
                running = stack.enter_context(store(wanted.folder / "store"))
                way = stack.enter_context(gate.running(running.url))
                dataroot = f"s3://{_BUCKET}/{_PREFIX}"
                settings = {**running.environment(), "AWS_ENDPOINT_URL": way.url, "AWS_REGION": "us-east-1"}
                place = Bucket(running, versions, _BUCKET, _PREFIX)
            disturbed = Disturbed(place, folder / "rows")
            disturbed.prepare(ALL)
            limit = stack.enter_context(limited(name, wanted.limit_mb))
            settings |= {"CXG_WORKERS": str(WORKERS), "CXG_MEMORY_MB": str(wanted.limit_mb)}
            settings |= {"CXG_CACHE_MB": str(CACHE_MB)}
            server = stack.enter_context(launched(folder, dataroot, environment=settings, within=limit.within))
            found[name] = Subject(
                server, limit, disturbed, Watch(server, limit, wanted.limit_mb, CACHE_MB, disturbed), way
            )
        yield found


def right_answers(asked: oracle.Oracle, versions: Path, truths: Mapping[str, Any]) -> dict[str, dict[str, Right]]:
    """Right answers about every version."""
    names = sorted(path.stem for path in versions.iterdir())
    right = {version: asked.answers(version, truths.get(version)) for version in names}
    oracle.check_damaged(right)
    return right


class Soak:
    """A soak under way."""

    def __init__(self, wanted: Wanted, found: dict[str, Subject], right: dict[str, dict[str, Right]]) -> None:
        self._wanted, self._subjects = wanted, found
        self._right = right
        self._answers: list[Answer] = []
        self._told: list[hostility.Told] = []
        self._happened: list[Happened] = []
        self._lock = threading.Lock()
        ports = {name: subject.server.port for name, subject in found.items()}
        job = visitors.Job(ports, wanted.visitors, wanted.seed, right, wanted.folder)
        self._to_visitors, theirs = _SPAWN.Pipe()
        self._to_hostile, others = _SPAWN.Pipe()
        self._processes = (
            _SPAWN.Process(target=visitors.run, args=(job, theirs), daemon=True),
            _SPAWN.Process(target=hostility.run, args=(ports, wanted.seed, others), daemon=True),
        )
        self._collectors = [
            threading.Thread(target=_collect, args=(self._to_visitors, self._answers.extend), daemon=True),
            threading.Thread(target=_collect, args=(self._to_hostile, self._told.append), daemon=True),
        ]

    def run(self) -> Outcome:
        """Let it all happen."""
        for thing in (*self._processes, *self._collectors):
            thing.start()
        self._warm()
        for subject in self._subjects.values():
            subject.watch.start()
        say(f"calm, {self._wanted.calm_s:.0f} s")
        before = self._calm()
        say(f"disturbed, {self._wanted.soak_s:.0f} s")
        began_s = time.monotonic()
        lanes = {(one.lane, one.server if one.lane == FILES else "") for one in self._wanted.events}
        with ThreadPoolExecutor(max(1, len(lanes))) as pool:
            for lane in [pool.submit(self._lane, lane, began_s) for lane in sorted(lanes)]:
                lane.result()  # what cannot be done to a server is no finding about it
        time.sleep(max(0.0, began_s + self._wanted.soak_s - time.monotonic()))
        soak = Span(began_s, time.monotonic())
        say(f"calm again, {self._wanted.calm_s:.0f} s")
        after = self._calm()
        self._end()
        return Outcome(self._answers, self._told, self._happened, self._right, before, soak, after)

    def _warm(self) -> None:
        """Until everybody has found the datasets open and decoded, as far as they are."""
        time.sleep(min(20.0, self._wanted.calm_s))

    def _calm(self) -> Span:
        began_s = time.monotonic()
        time.sleep(self._wanted.calm_s)
        return Span(began_s, time.monotonic())

    def _end(self) -> None:
        for subject in self._subjects.values():
            subject.watch.stop()
        self._to_visitors.send("end")
        self._to_hostile.send(None)
        for collector in self._collectors:
            collector.join(120)
        for process in self._processes:
            process.join(10)
            process.kill()
            process.join()
            if process.exitcode:
                raise RuntimeError(f"A process of clients ended with exit code {process.exitcode}; see above.")

    def _lane(self, lane: tuple[str, str], began_s: float) -> None:
        """Begin and end the events of one lane in time."""
        steps: list[tuple[float, str, Event]] = []
        for event in self._wanted.events:
            if (event.lane, event.server if event.lane == FILES else "") == lane:
                steps += [(event.start_s, "begin", event), (event.stop_s, "end", event)]
        open_at: dict[Event, tuple[float, str]] = {}
        for at_s, what, event in sorted(steps):
            time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            if what == "begin":
                now_s = time.monotonic()
                open_at[event] = now_s, self._begin(event)
                say(f"{now_s - began_s:6.1f} s  {event.label}  {open_at[event][1]}")
            else:
                self._stop(event)
                then_s, text = open_at[event]
                happened = Happened(event.kind, event.server, Span(then_s, time.monotonic()), text)
                with self._lock:
                    self._happened.append(happened)

    def _begin(self, event: Event) -> str:
        subject = self._subjects[event.server]
        if event.lane == FILES:
            return subject.place.change(event.kind)
        if event.kind in hostility.ATTACKS:
            self._send("begin", event)
            return ""
        if event.kind in (REFUSE, HANG):
            assert subject.gate is not None
            subject.place.outages.begin(time.monotonic())
            subject.gate.shut({REFUSE: gate.REFUSING, HANG: gate.SILENT}[event.kind])
            return ""
        return subject.place.corrupt(event.kind, self._wanted.seed)

    def _stop(self, event: Event) -> None:
        if event.kind in hostility.ATTACKS:
            self._send("end", event)
        elif event.kind in (REFUSE, HANG):
            subject = self._subjects[event.server]
            assert subject.gate is not None
            subject.gate.open()
            subject.place.outages.end(time.monotonic())

    def _send(self, what: str, event: Event) -> None:
        with self._lock:
            self._to_hostile.send((what, event.kind, event.server))


def _collect(connection: Any, take: Callable[[Any], None]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while (found := connection.recv()) is not None:
            take(found)
