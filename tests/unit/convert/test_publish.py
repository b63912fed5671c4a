"""All or nothing: whatever interrupts a conversion, no half dataset is ever where a server would look."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from cxg.convert.publish.folder import is_cxg, remove_stale, workplace
from cxg.errors import ConversionError
from tests.unit.convert.h5ads import default_matrix, listed, make_h5ad, read_matrices

# Converts in forked children and kills each at another moment; forking spares the start of Python. The parent
# makes no TileDB context, so the fork is safe.
KILLER = """
import argparse, json, os, random, signal, sys, time
from pathlib import Path
import cxg.convert.read.h5ad, cxg.convert.write.writer
from cxg.cli.convert import add_arguments, run

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
parser = argparse.ArgumentParser()
add_arguments(parser)
args = parser.parse_args([str(folder / "in.h5ad"), str(folder / "out.cxg")])

def child():
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(run(args))
    return pid

began = time.monotonic()
assert os.waitpid(child(), 0)[1] == 0
took = time.monotonic() - began
(folder / "out.cxg").rename(folder / "whole")
rng, seen = random.Random(4), []
for i in range(rounds):
    pid = child()
    time.sleep(rng.uniform(0, 1.05) * took)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    names = sorted(os.listdir(folder))
    seen.append(names)
    if "out.cxg" in names:
        (folder / "out.cxg").rename(folder / f"whole{i}")
for left in folder.glob(".*.partial"):  # one that was killed before it signed its folder is swept up a minute later
    os.utime(left, (0, 0))
assert os.waitpid(child(), 0)[1] == 0
print(json.dumps(seen))
"""


def test_killed_at_random_moments(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.random((400, 300)).astype(np.float32)
    folder = tmp_path / "data"
    folder.mkdir()
    make_h5ad(folder / "in.h5ad", sparse.csr_matrix(truth))
    project = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(folder), "20"],
        env={**os.environ, "PYTHONPATH": project},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len(seen) == 20
    hidden = 0
    for names in seen:
        visible = {name for name in names if not name.startswith(".") and not name.startswith("whole")}
        assert visible <= {"in.h5ad", "out.cxg"}
        hidden += any(name.endswith(".partial") for name in names)
    assert hidden, "no kill fell into the work: the test shows nothing"
    # What did appear is whole, and the last run swept up after the killed ones.
    for path in folder.glob("whole*"):
        for found in read_matrices(path, truth.shape):
            np.testing.assert_array_equal(found, truth)
    assert not list(folder.glob(".*"))
    assert (folder / "out.cxg").is_dir()


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
@pytest.mark.parametrize(
    "where", ["cxg.convert.write.transpose.ExternalTranspose.add", "cxg.convert.publish.folder.flush"]
)
def test_signal_cleans_up(tmp_path, convert, capsys, monkeypatch, number, code, where):
    # A script's background job is started with some signals ignored, and so would be this test.
    started_with = signal.signal(number, signal.SIG_DFL)
    before = signal.getsignal(number)
    path = make_h5ad(tmp_path / "in.h5ad")
    monkeypatch.setattr(where, lambda *_: os.kill(os.getpid(), number))
    try:
        assert convert(path)[0] == code
        assert signal.getsignal(number) == before
    finally:
        signal.signal(number, started_with)
    assert f"stopped by {number.name}; nothing was written" in capsys.readouterr().err
    assert listed(tmp_path) == ["in.h5ad"]


def test_hangup_is_ignored_under_nohup(tmp_path, convert, monkeypatch):
    path = make_h5ad(tmp_path / "in.h5ad")
    monkeypatch.setattr("cxg.convert.publish.folder.flush", lambda *_: os.kill(os.getpid(), signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert convert(path)[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_existing_is_not_touched(tmp_path, convert):
    path, out = make_h5ad(tmp_path / "in.h5ad"), tmp_path / "in.cxg"
    assert convert(path)[0] == 0
    before = {item: item.stat().st_mtime_ns for item in out.rglob("*")}
    assert convert(path)[0] == 2
    assert {item: item.stat().st_mtime_ns for item in out.rglob("*")} == before


def test_overwrite_replaces_the_whole_folder(tmp_path, convert):
    path, out = make_h5ad(tmp_path / "in.h5ad"), tmp_path / "in.cxg"
    assert convert(path)[0] == 0
    (out / "stray").mkdir()
    make_h5ad(path, default_matrix() * 3)
    assert convert(path, "--overwrite")[0] == 0
    np.testing.assert_array_equal(read_matrices(out, (6, 4))[0], default_matrix() * 3)
    assert listed(tmp_path) == ["in.cxg", "in.h5ad", "report.json"]
    assert not (out / "stray").exists()


def test_failed_overwrite_keeps_the_old(tmp_path, convert, monkeypatch):
    path, out = make_h5ad(tmp_path / "in.h5ad"), tmp_path / "in.cxg"
    assert convert(path)[0] == 0
    rename = Path.rename

    def second_fails(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    make_h5ad(path, default_matrix() * 3)
    monkeypatch.setattr(Path, "rename", second_fails)
    assert convert(path, "--overwrite")[0] == 2
    np.testing.assert_array_equal(read_matrices(out, (6, 4))[0], default_matrix())
    assert listed(tmp_path) == ["in.cxg", "in.h5ad"]


def test_interrupted_between_the_two_renames(tmp_path, convert, monkeypatch):
    path, out = make_h5ad(tmp_path / "in.h5ad"), tmp_path / "in.cxg"
    assert convert(path)[0] == 0
    rename = Path.rename

    def stopped(self, target):
        if self.name == "new":
            os.kill(os.getpid(), signal.SIGTERM)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped)
    assert convert(path, "--overwrite")[0] == 143
    assert read_matrices(out, (6, 4))


def test_killed_between_the_two_renames(tmp_path):
    """What the killed process had put aside comes back with the next conversion of the same target."""
    target = tmp_path / "out.cxg"
    with workplace(target) as place:
        folder = place.new.parent
        (folder / "replaced" / "obs").mkdir(parents=True)
        folder.rename(tmp_path / "kept")
    (tmp_path / "kept").rename(folder)
    remove_stale(target)
    assert listed(tmp_path) == ["out.cxg"]
    assert (target / "obs").is_dir()


def test_the_next_run_finds_what_a_killed_one_had_put_aside(tmp_path, convert, capsys):
    """Before any work it is back in its place, and --overwrite is asked for as if nothing had happened."""
    path, out = make_h5ad(tmp_path / "in.h5ad"), tmp_path / "in.cxg"
    assert convert(path)[0] == 0
    left = tmp_path / ".in.cxg.00000001.partial"
    left.mkdir()
    (left / "owner").write_text(os.uname().nodename)
    out.rename(left / "replaced")
    assert convert(path)[0] == 2
    assert "exists already; use --overwrite" in capsys.readouterr().err
    assert listed(tmp_path) == ["in.cxg", "in.h5ad"]


@pytest.mark.parametrize(
    "files,accepted",
    [
        ([], True),
        (["__tiledb_group.tdb"], True),
        (["cxg_group_metadata/__schema/s"], True),
        (["obs/__schema/s", "notes.txt"], True),
        (["obs/__array_schema.tdb"], True),
        (["var/log/messages", "thesis.txt"], False),
        (["obs/.zgroup", "var/.zgroup", "X/.zarray"], False),
    ],
)
def test_what_overwrite_takes_for_a_cxg(tmp_path, files, accepted):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert is_cxg(tmp_path) is accepted


def test_stale_folders(tmp_path):
    """Only folders of the same target, of this host, whose process is gone, are removed."""
    host = os.uname().nodename

    def leftover(name, owner):
        (tmp_path / name).mkdir()
        (tmp_path / name / "owner").write_text(owner)

    leftover(".a.cxg.00000001.partial", host)
    leftover(".a.cxg.00000002.partial", "another-host")
    leftover(".a.cxg.00000003.partial", host)
    leftover(".b.cxg.00000004.partial", host)
    leftover(".a.cxg.b.00000005.partial", host)
    (tmp_path / ".a.cxg.00000006.partial").mkdir()
    (tmp_path / ".a.cxg.00000007.partial").mkdir()
    leftover(".a.cxg.00000008.partial", "")
    leftover(".a.cxg.00000009.partial", "")
    for unsigned in ("00000007", "00000008"):  # killed before they were signed, long ago
        os.utime(tmp_path / f".a.cxg.{unsigned}.partial", (0, 0))
    with (tmp_path / ".a.cxg.00000003.partial" / "owner").open() as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        remove_stale(tmp_path / "a.cxg")
    assert listed(tmp_path) == [
        ".a.cxg.00000002.partial",
        ".a.cxg.00000003.partial",
        ".a.cxg.00000006.partial",
        ".a.cxg.00000009.partial",
        ".a.cxg.b.00000005.partial",
        ".b.cxg.00000004.partial",
    ]


def test_target_that_appears_meanwhile(tmp_path):
    target = tmp_path / "out.cxg"
    with workplace(target) as place:
        place.new.mkdir()
        target.mkdir()
        with pytest.raises(ConversionError, match="appeared while"):
            place.publish(overwrite=False)
    assert listed(tmp_path) == ["out.cxg"]


def test_target_is_a_link(tmp_path, convert, capsys):
    (tmp_path / "elsewhere" / "obs").mkdir(parents=True)
    (tmp_path / "out.cxg").symlink_to(tmp_path / "elsewhere")
    assert convert(make_h5ad(tmp_path / "in.h5ad"), tmp_path / "out.cxg", "--overwrite")[0] == 2
    assert "is not a CXG" in capsys.readouterr().err
    assert (tmp_path / "elsewhere" / "obs").is_dir()
