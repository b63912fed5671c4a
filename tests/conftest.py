"""What every test starts from: no cloud, no settings of the machine's user."""

import os
from pathlib import Path

import pytest

# At import, before any test module can make a boto3 client: its credential search must not ask the network.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

PROJECT = Path(__file__).resolve().parents[1]
SHARED_DATA = PROJECT.parent / "shared" / "data"


def pytest_ignore_collect(collection_path, config):
    """Do not even import a suite that the marker expression excludes: it needs packages that unit tests do without."""
    suite = collection_path.relative_to(PROJECT / "tests").parts[:1]
    return True if suite and f"not {suite[0]}" in config.option.markexpr else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Start twice as many processes as there are processors, up to four: many tests wait for clients and clocks."""
    processors = os.cpu_count() or 1
    return max(processors, min(2 * processors, 4))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Settings of the person who runs the tests must not change their outcome."""
    for name in [name for name in os.environ if name.startswith("CXG_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the source tree."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CXGs written by other software; they are not part of this repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real datasets in {SHARED_DATA}")
    return SHARED_DATA
