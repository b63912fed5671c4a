"""A converter to call from a test: the real command, in this process."""

import argparse
import json

import pytest

from cxg.cli.convert import add_arguments, run


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    """Bringing every file to the disk takes longer than all the rest of a small conversion; one test does it."""
    monkeypatch.setattr("cxg.convert.publish.folder.flush", lambda root: None)


@pytest.fixture
def convert(tmp_path):
    """Run `cxg convert` with arguments; returns (exit code, report as a dict)."""

    def call(*arguments):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        code = run(parser.parse_args([*map(str, arguments), "--report", str(report)]))
        return code, json.loads(report.read_text()) if report.exists() else None

    return call


@pytest.fixture
def converted(convert, tmp_path):
    """Convert a file and return (folder of the CXG, report); the conversion must succeed."""

    def call(path, *options):
        out = tmp_path / "out.cxg"
        code, report = convert(path, out, *options)
        assert code == 0
        return out, report

    return call


def codes_of(report):
    """The words of a report's notes."""
    return {note["code"] for note in report["notes"]}
