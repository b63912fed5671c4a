"""One line is added to the EB CLI's configuration, and nothing else changes."""

import pytest
import yaml

from assembly.ebconfig import add_artifact, with_artifact
from assembly.errors import AssemblyError

INIT = """\
branch-defaults:
  main:
    environment: atlas   # ours
global:
  application_name: 'atlas'
  default_region: eu-west-1
  sc: git
"""
LINE = "  artifact: artifact.zip\n"


@pytest.mark.parametrize(
    "before, after",
    [
        ("", f"deploy:\n{LINE}"),
        (INIT, f"{INIT}deploy:\n{LINE}"),
        (INIT.rstrip("\n"), f"{INIT}deploy:\n{LINE}"),
        (f"deploy:\n{INIT}", f"deploy:\n{LINE}{INIT}"),
        ("deploy:", f"deploy:\n{LINE}"),
        (f"deploy: # later\n  # more\n{INIT}", f"deploy: # later\n{LINE}  # more\n{INIT}"),
        (f"deploy:\n    other: 1\n{INIT}", f"deploy:\n    artifact: artifact.zip\n    other: 1\n{INIT}"),
        (f"{INIT}deploy:\n  other: 1", f"{INIT}deploy:\n{LINE}  other: 1"),
        ("global:\r\n  sc: git\r\n", "global:\r\n  sc: git\r\ndeploy:\r\n  artifact: artifact.zip\r\n"),
    ],
)
def test_the_line_is_added_and_the_rest_stays_byte_for_byte(before, after):
    edited = with_artifact(before, "artifact.zip")
    assert edited == after
    assert yaml.safe_load(edited)["deploy"]["artifact"] == "artifact.zip"
    assert with_artifact(edited, "artifact.zip") is None


def test_another_artifact_is_kept():
    text = "deploy: {artifact: other.zip}\n"
    assert with_artifact(text, "artifact.zip") == text


@pytest.mark.parametrize(
    "text", ["deploy: {other: 1}\n", "{deploy: {other: 1}}\n", "deploy: null\n", "deploy: yes\n", "- a\n"]
)
def test_what_a_line_cannot_be_added_to_is_left_alone_and_said(text):
    with pytest.raises(AssemblyError, match=r"by hand|eb init"):
        with_artifact(text, "artifact.zip")


def test_the_file_is_edited_in_place(tmp_path):
    path = tmp_path / "config.yml"
    artifact = path.with_name("artifact.zip")
    assert "eb init" in add_artifact(path, artifact)
    path.write_text(INIT)
    assert "now names" in add_artifact(path, artifact)
    assert path.read_text().startswith(INIT)
    assert add_artifact(path, artifact) is None
    path.write_text("deploy:\n  artifact: other.zip\n")
    assert "which is kept" in add_artifact(path, artifact)
    path.write_text("a: [")
    with pytest.raises(AssemblyError, match="cannot be read"):
        add_artifact(path, artifact)
