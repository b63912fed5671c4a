"""The tag that names an image: what it is made of, and images that were built from something else."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from assembly import push
from assembly.errors import AssemblyError
from assembly.overlays import Overlays, read_overlays
from assembly.tags import CUSTOMIZE_LABEL, check_origin, immutable_tag

PROJECT = Path(__file__).parents[3]
NONE = Overlays(Path("customize"), (), ())


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git repository with a version in it, and our rules about what git leaves out."""
    root = tmp_path / "checkout"
    for name in (".gitignore", "customize/README.md", "requirements.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, root / name)
    (root / "cxg").mkdir()
    (root / "cxg" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    return root


def overlays(root: Path) -> Overlays:
    return read_overlays(root / "customize", root / "requirements.txt")


def labels(commit: str, customize: str | None = None) -> dict[str, str]:
    made = {"org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.revision": commit}
    return made | ({CUSTOMIZE_LABEL: customize} if customize else {})


def test_tags_are_made_of_version_and_commit(checkout: Path) -> None:
    assert immutable_tag(checkout, overlays(checkout)) == f"1.2.3-{git(checkout, 'rev-parse', 'HEAD')[:12]}"


def test_the_sites_own_files_change_the_tag_though_git_ignores_them(checkout: Path) -> None:
    plain = immutable_tag(checkout, overlays(checkout))
    config = checkout / "customize" / "config.yaml"
    config.write_text("server: {}\n")
    first = immutable_tag(checkout, overlays(checkout))
    config.write_text("server:\n")
    second = immutable_tag(checkout, overlays(checkout))
    assert first.rpartition("-")[0] == second.rpartition("-")[0] == plain
    assert first != second
    config.write_text("server: {}\n")
    assert immutable_tag(checkout, overlays(checkout)) == first
    config.unlink()
    (checkout / "customize" / "deploy").mkdir()
    (checkout / "customize" / "deploy" / "config.yaml").write_text("server: {}\n")
    assert immutable_tag(checkout, overlays(checkout)) != first, "the names count, too"


def test_what_is_not_in_the_image_does_not_change_its_tag(checkout: Path) -> None:
    plain = immutable_tag(checkout, overlays(checkout))
    (checkout / "customize" / "ebextensions").mkdir()
    (checkout / "customize" / "ebextensions" / "90-site.config").write_text("option_settings: {}\n")
    assert immutable_tag(checkout, overlays(checkout)) == plain


def test_the_documented_copy_of_the_example_and_eb_init_leave_a_clean_tree(checkout: Path) -> None:
    subprocess.run(["cp", "-r", f"{PROJECT}/customize.example/.", f"{checkout}/customize/"], check=True)
    # `eb init` adds its rules to .gitignore unless it finds its own heading there.
    assert "# Elastic Beanstalk Files" in (checkout / ".gitignore").read_text().splitlines()
    assert git(checkout, "status", "--porcelain") == ""
    assert immutable_tag(checkout, overlays(checkout)).count("-") == 2


def test_changed_files_have_no_such_tag(checkout: Path) -> None:
    (checkout / "cxg" / "__init__.py").write_text('__version__ = "1.2.4"\n')
    with pytest.raises(AssemblyError, match=r"files differ from the last commit.*--tag"):
        immutable_tag(checkout, NONE)


def test_without_a_repository_a_tag_has_to_be_given(tmp_path: Path) -> None:
    (tmp_path / "cxg").mkdir()
    (tmp_path / "cxg" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    with pytest.raises(AssemblyError, match="no commit to make a tag from; give one with --tag"):
        immutable_tag(tmp_path, NONE)


@pytest.mark.parametrize("made", [labels("a" * 12), labels("a" * 12, "0123abcd")])
def test_an_image_built_from_what_the_tag_names_passes(made: dict[str, str]) -> None:
    check_origin(made, "x:1", "-".join(made.values()))


@pytest.mark.parametrize(
    "made, was",
    [
        (labels("b" * 12), "1.2.3-bbbbbbbbbbbb"),
        (labels("a" * 12 + "-dirty"), "1.2.3-aaaaaaaaaaaa-dirty"),
        (labels("a" * 12, "0123abcd"), "1.2.3-aaaaaaaaaaaa-0123abcd"),
        ({}, "unknown-unknown"),
    ],
)
def test_an_image_built_from_something_else_is_refused(made: dict[str, str], was: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        check_origin(made, "cellxgene-eb:1.2.3", "1.2.3-aaaaaaaaaaaa")
    assert str(caught.value) == (
        f"cellxgene-eb:1.2.3 was built as {was}, but the files here are 1.2.3-aaaaaaaaaaaa: build it again with "
        "`make build`"
    )


class Engine:
    """An engine that holds one image under every name, and sends it nowhere."""

    def __init__(self, found: dict[str, str]) -> None:
        self.images = argparse.Namespace(get=lambda name: argparse.Namespace(labels=found))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("image, fails", [("localhost/cxg", True), ("localhost/cxg:own", False)])
def test_only_a_tag_that_was_worked_out_is_compared(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, image: str, fails: bool
) -> None:
    sent: list[str] = []

    def send(engine: Engine, local: str, target: push.Target, *_: object) -> push.Pushed:
        sent.append(target.tag)
        return push.Pushed(target.reference, "sha256:0")

    monkeypatch.setattr(push, "ROOT", checkout)
    monkeypatch.setattr(push, "push_image", send)
    monkeypatch.setattr(push, "connect", lambda: Engine(labels("b" * 12)))
    verbs = argparse.ArgumentParser()
    push.add_verb(verbs.add_subparsers())
    options = verbs.parse_args(["push", "--image", image, "--local", "x:1", "--customize", str(checkout / "customize")])
    if fails:
        with pytest.raises(AssemblyError, match=r"^x:1 was built as 1\.2\.3-b{12}, but"):
            options.run(options, print)
        monkeypatch.setattr(push, "connect", lambda: Engine(labels(git(checkout, "rev-parse", "HEAD")[:12])))
        options.run(options, print)
        assert sent == [immutable_tag(checkout, NONE)]
    else:
        options.run(options, print)
        assert sent == ["own"]
