"""Run a soak: ``python -m tests.soak --minutes 30``. Exit code 1 when a fault was found."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.soak import oracle
from tests.soak.datasets import build_all, questions_of
from tests.soak.findings import (
    ALL_KINDS,
    Fault,
    by_event,
    during,
    first_difference,
    judge_all,
    latencies,
    slowed,
)
from tests.soak.judge import FAILED, Answer
from tests.soak.report import event_table, fault_text, hostile_table, latency_table, table, watch_table, write
from tests.soak.run import Outcome, Soak, Subject, Wanted, right_answers, say, subjects
from tests.soak.schedule import KINDS, SERVERS, Event, schedule
from tests.soak.watch import LOOK_S

# Shorter ones only report how long answers took.
JUDGED_FROM_S = 600.0


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the disturbed part (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of what comes when and who asks what (default: 1)")
    parser.add_argument("--visitors", type=int, default=8, help="ordinary visitors of each server (default: 8)")
    parser.add_argument("--memory", type=int, default=1000, metavar="MB", help="of each server (default: 1000)")
    parser.add_argument("--server", choices=SERVERS, action="append", help="only this one; repeated for several")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--only", choices=KINDS, action="append", metavar="KIND", help="only events of this kind; repeated"
    )
    chosen.add_argument(
        "--without", choices=KINDS, action="append", metavar="KIND", help="no events of this kind; repeated"
    )
    parser.add_argument("--list", action="store_true", help="print what would happen when, and end")
    parser.add_argument("--folder", type=Path, help="keep everything here (default: a temporary folder)")
    parser.add_argument("--report", type=Path, default=Path("build/soak.json"), help="the same as JSON")
    options = parser.parse_args(given)
    if options.minutes <= 0:
        parser.error("--minutes is not a valid length; give a number above 0.")
    return options


def plan(options: argparse.Namespace) -> Wanted:
    """What the options ask for."""
    kinds = set(options.only or KINDS) - set(options.without or ())
    servers = tuple(name for name in SERVERS if name in (options.server or SERVERS))
    soak_s = 60 * options.minutes
    events = schedule(soak_s, options.seed, servers, kinds)
    folder = options.folder or Path(tempfile.gettempdir()) / f"soak-{os.getpid()}"
    calm_s = min(120.0, max(20.0, soak_s / 6))
    return Wanted(folder, soak_s, calm_s, options.seed, events, servers, options.visitors, options.memory)


def timetable(events: tuple[Event, ...]) -> str:
    """What happens when."""
    return table(
        ("event", "from s", "to s"), ((one.label, f"{one.start_s:.0f}", f"{one.stop_s:.0f}") for one in events)
    )


def main(given: list[str] | None = None) -> int:
    """Run it and print what was found."""
    options = arguments(given)
    wanted = plan(options)
    sys.stdout.write(f"seed {wanted.seed}; what happens when:\n{timetable(wanted.events)}\n")
    if options.list:
        return 0
    if not Path("/proc/self/smaps_rollup").exists():
        say("This needs Linux: processes and their memory are read from /proc.")
        return 2
    # As Ctrl-C does: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    versions = wanted.folder / "versions"
    say(f"making the datasets in {wanted.folder}")
    truths = build_all(versions)
    with oracle.running(wanted.folder / "oracle", versions) as quiet:
        asked = oracle.Oracle(quiet)
        say("asking the quiet server for the right answers")
        right = right_answers(asked, versions, truths)
        with subjects(wanted, versions) as found:
            for name, subject in found.items():
                say(f"{name}: {subject.limit.how}")
            outcome = Soak(wanted, found, right).run()
            faults = conclude(wanted, found, outcome, asked, options.report)
    if options.folder is None and not faults:
        shutil.rmtree(wanted.folder)
    return 1 if faults else 0


def conclude(
    wanted: Wanted, found: dict[str, Subject], outcome: Outcome, asked: oracle.Oracle, target: Path
) -> list[Fault]:
    """Judge everything, print it, and give the faults."""
    # The last look at a server may be this much older than its end.
    last_s = {name: subject.watch.ended_s - LOOK_S for name, subject in found.items()}
    answers = [one for one in outcome.answers if one.ended_s < last_s[one.server]]
    places = {name: subject.place for name, subject in found.items()}
    # What is made again after the files of the cache were altered, in seconds, is a large part of a short soak.
    is_long = wanted.soak_s >= JUDGED_FROM_S
    compared = latencies(answers, outcome.before, outcome.soak, places)
    afterwards = latencies(answers, outcome.before, outcome.after, places)
    faults = [
        *judge_all(answers, outcome.right, places, outcome.happened, Difference(asked)),
        *_seen(found, outcome),
        *(slowed(compared, outcome.soak.ended_s) if is_long else ()),
        *(slowed(afterwards, outcome.after.began_s, "in the calm afterwards, ") if is_long else ()),
    ]
    faults.sort(key=lambda one: one.at_s)
    calm = {one.server: one.calm[2] for one in compared if one.kind == ALL_KINDS}
    events = by_event(answers, faults, outcome.happened, calm)
    limits = {name: subject.limit for name, subject in found.items()}
    for part in (
        latency_table(compared),
        "" if is_long else f"Latencies are judged in soaks of {JUDGED_FROM_S / 60:.0f} minutes or more.",
        event_table(events),
        hostile_table(outcome.told),
        watch_table({name: subject.watch for name, subject in found.items()}, limits),
        fault_text(faults, outcome.soak.began_s),
        f"{len(answers)} answers to ordinary visitors, {len(outcome.answers) - len(answers)} more after a server ended",
        f"{len(faults)} faults; all of it: {target}",
    ):
        sys.stdout.write(f"\n{part}\n")
    content = {"wanted": wanted, "began_s": outcome.soak.began_s, "limits": limits, "latencies": compared}
    content |= {"events": events, "happened": outcome.happened, "hostile": outcome.told, "faults": faults}
    content |= {"looks": {name: subject.watch.looks for name, subject in found.items()}}
    write(target, content)
    return faults


class Difference:
    """Says how the body that a visitor got differs from the right one of a version."""

    def __init__(self, asked: oracle.Oracle) -> None:
        self._asked = asked

    def __call__(self, answer: Answer, version: str) -> str:
        """Where the two differ first."""
        question = next((one for one in questions_of(answer.dataset) if one.key == answer.key), None)
        if question is None or not answer.kept or not Path(answer.kept).exists():
            return f"{version}: not compared"
        body = self._asked.ask(version, question)[1]
        return f"{version}: {first_difference(Path(answer.kept).read_bytes(), body)}"


def _seen(found: dict[str, Subject], outcome: Outcome) -> list[Fault]:
    """Faults that are not in the answers to ordinary visitors."""
    faults = [
        Fault(seen.sort, name, seen.at_s, during(outcome.happened, name, seen.at_s, seen.at_s), seen.text)
        for name, subject in found.items()
        for seen in subject.watch.faults
    ]
    sort, at_s = f"{FAILED}, to hostile clients", outcome.soak.began_s
    faults += [Fault(sort, told.server, at_s, (told.kind,), one) for told in outcome.told for one in told.faults]
    return faults


if __name__ == "__main__":
    sys.exit(main())
