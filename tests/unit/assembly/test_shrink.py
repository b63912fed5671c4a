"""Libraries without their debug information still do what they do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from assembly.shrink import main, shrink

READ = """
import sys, h5py, hdf5plugin
assert hdf5plugin.__file__.startswith(sys.argv[2]), hdf5plugin.__file__
with h5py.File(sys.argv[1]) as file:
    print(file["values"][:].sum())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the image is Linux")
def test_a_smaller_library_still_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = Path(str(hdf5plugin.__file__)).parent
    copy = tmp_path / "hdf5plugin"
    shutil.copytree(own, copy, ignore=lambda _, names: [n for n in names if n.endswith(".so") and n != "libh5zstd.so"])
    library = copy / "plugins" / "libh5zstd.so"
    before = library.stat().st_size
    assert main([str(library)]) == 0
    assert library.stat().st_size < before / 2
    assert "MB less in 1 files" in capsys.readouterr().out
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("values", data=np.arange(1000), **hdf5plugin.Zstd())
    command = [sys.executable, "-c", READ, str(tmp_path / "a.h5"), str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "499500\n", done.stderr
    assert shrink(library) == 0  # nothing is left to cut


def test_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.so"
    path.write_bytes(b"no library")
    with pytest.raises(ValueError, match="not a 64-bit ELF library"):
        shrink(path)
    assert path.read_bytes() == b"no library"
