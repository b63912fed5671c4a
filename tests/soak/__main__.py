"""Run a soak: ``python -m tests.soak --minutes 30``. Exit code 1 when a fault was found."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak import oracle
from tests.soak.datasets import build_all
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
from tests.soak.report import event_table, fault_text, latency_table, table, watch_table, write
from tests.soak.run import Outcome, Soak, Subject, Wanted, known_question, right_answers, say, subjects
from tests.soak.schedule import KINDS, SERVERS, Event, schedule


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="length of the disturbed part (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of what comes when and who asks what (default: 1)")
    parser.add_argument("--visitors", type=int, default=6, help="ordinary visitors of each server (default: 6)")
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
    folder = options.folder or Path(tempfile.mkdtemp(prefix="soak-"))
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

    def difference(answer: Answer, version: str) -> str:
        question = known_question(answer.dataset, answer.key)
        if question is None or not answer.kept or not Path(answer.kept).exists():
            return f"{version}: not compared"
        return f"{version}: {first_difference(Path(answer.kept).read_bytes(), asked.ask(version, question)[1])}"

    places = {name: subject.place for name, subject in found.items()}
    began_s = outcome.soak.began_s
    faults = judge_all(outcome.answers, outcome.right, places, outcome.happened, difference)
    for name, subject in found.items():
        for seen in subject.watch.faults:
            labels = during(outcome.happened, name, seen.at_s, seen.at_s)
            faults.append(Fault(seen.sort, name, seen.at_s, labels, seen.text))
    for told in outcome.told:
        faults += [
            Fault(f"{FAILED}, to hostile clients", told.server, began_s, (told.kind,), one) for one in told.faults
        ]
    compared = latencies(outcome.answers, outcome.before, outcome.soak, places)
    faults += slowed(compared, outcome.soak.ended_s)
    afterwards = latencies(outcome.answers, outcome.before, outcome.after, places)
    lasting = [
        one._replace(text=f"in the calm afterwards, {one.text}") for one in slowed(afterwards, outcome.after.began_s)
    ]
    faults = sorted([*faults, *lasting], key=lambda one: one.at_s)
    calm = {one.server: one.calm[2] for one in compared if one.kind == ALL_KINDS}
    events = by_event(outcome.answers, faults, outcome.happened, calm)
    how = {name: subject.limit.how for name, subject in found.items()}
    kills = {name: subject.limit.kills() for name, subject in found.items()}
    statuses = [
        (
            f"{told.kind} ({told.server})",
            ", ".join(f"{status or 'none'}: {n}" for status, n in sorted(told.statuses.items())),
        )
        for told in outcome.told
    ]
    for part in (
        latency_table(compared),
        event_table(events),
        table(("hostile clients", "answers by status"), statuses),
        watch_table({name: subject.watch for name, subject in found.items()}, how, kills),
        fault_text(faults, began_s),
        f"{len(outcome.answers)} answers to ordinary visitors, {len(faults)} faults; all of it: {target}",
    ):
        sys.stdout.write(f"\n{part}\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"wanted": wanted, "began_s": began_s, "limits": how, "kills": kills, "latencies": compared}
    content |= {"events": events, "happened": outcome.happened, "hostile": outcome.told, "faults": faults}
    content |= {"looks": {name: subject.watch.looks for name, subject in found.items()}}
    write(target, content)
    return faults


if __name__ == "__main__":
    sys.exit(main())
