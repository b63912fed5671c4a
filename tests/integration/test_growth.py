"""What a worker keeps after very many reads and openings; a minute or two, so not among the unit tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

MOST_KB = 5_000


def test_20000_reads_and_3000_opens_leave_memory_as_it_was(project: Path) -> None:
    """The second half of each must not come on top; with one context for good it is 124 MB and 37 MB."""
    command = [sys.executable, "-m", "tests.growth", "--reads", "20000", "--opens", "3000"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["generation"] >= 20
    assert found["reads"] < MOST_KB, found
    assert found["opens"] < MOST_KB, found
