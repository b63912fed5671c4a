"""Each deliberate difference from the published server is in the table, in the documentation and in a test."""

import re
from pathlib import Path

import pytest

from tests.reference.differences import DIFFERENCES

ROOT = Path(__file__).resolve().parents[3]


def test_the_documentation_has_them_all_and_no_other():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("## Differences")[2]
    assert re.findall(r"^### (\S+)$", text, flags=re.M) == list(DIFFERENCES)
    reasons = re.split(r"^### \S+$", text, flags=re.M)[1:]
    assert all(len(reason.strip()) > 60 for reason in reasons)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_is_met_in_the_comparison(name):
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "reference").glob("*.py"))
    assert re.search(rf"# (.* )?{name}\b", code)
