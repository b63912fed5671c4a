"""The image's plan, and what is said when Docker is not there or a build fails; no engine is needed."""

import argparse
import gc
import re
import warnings

import pytest

import build
from assembly import image
from assembly.errors import AssemblyError
from assembly.product import plan_product
from assembly.tags import CUSTOMIZE_LABEL


def plan(*arguments: str, name: str | None = None) -> image.ImagePlan:
    parser = argparse.ArgumentParser()
    image.add_image_options(parser)
    options = parser.parse_args(["--customize", "no such folder", *arguments])
    options.image = name
    return image.plan_image(options)


def test_dry_run_prints_the_plan_and_needs_no_docker(capsys, monkeypatch):
    monkeypatch.setattr(image, "connect", None)
    arguments = [
        "--image",
        "site/cxg:1",
        "--base-image",
        "mirror/python:3.13",
        "--customize",
        "no such folder",
        "--dry-run",
    ]
    assert build.main(["image", *arguments]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("image: site/cxg:1, version ")
    assert "build argument BASE_IMAGE=mirror/python:3.13\n" in printed
    assert "  entrypoint.py\n" in printed


def test_name_and_mirrors_come_from_options_or_environment(monkeypatch):
    monkeypatch.delenv("PYTHON_IMAGE", raising=False)
    monkeypatch.setenv("BUILD_NETWORK", "host")
    made = plan("--apt-packages", "rclone fuse3")
    assert made.tag == f"cellxgene-eb:{made.context.version}"
    assert made.build_args == {"APT_PACKAGES": "rclone fuse3"}
    assert made.network == "host"
    monkeypatch.setenv("PYTHON_IMAGE", "mirror/python:3.13")
    assert plan().build_args == {"BASE_IMAGE": "mirror/python:3.13"}


class Engine:
    """An engine whose build says these records."""

    def __init__(self, *records: dict[str, str]) -> None:
        self.api = argparse.Namespace(build=lambda **_: iter(records))


def test_the_digest_of_the_sites_own_files_is_a_label(monkeypatch, tmp_path):
    """Beside the commit, which the Dockerfile makes a label of."""
    (tmp_path / "config.yaml").write_text("server: {}\n")
    given: list[dict[str, str]] = []

    def build(**options):
        given.append(options["labels"])
        return iter([{"error": "far enough"}])

    monkeypatch.setattr(image, "connect", lambda: argparse.Namespace(api=argparse.Namespace(build=build)))
    for arguments in ((), ("--customize", str(tmp_path))):
        with pytest.raises(AssemblyError, match="far enough"):
            image.build_image(plan(*arguments), print)
    assert given == [{}, {CUSTOMIZE_LABEL: plan("--customize", str(tmp_path)).context.overlays.digest}]
    assert re.fullmatch("[0-9a-f]{8}", given[1][CUSTOMIZE_LABEL])


def test_a_failed_step_fails_the_build_with_the_end_of_its_log(monkeypatch):
    records = [{"stream": "Step 1/2 : RUN pip install\n"}, {"stream": "no such package\n"}, {"error": "exit code: 1"}]
    monkeypatch.setattr(image, "connect", lambda: Engine(*records))
    said: list[str] = []
    with pytest.raises(AssemblyError, match=r"(?s)could not be built: exit code: 1.*no such package"):
        image.build_image(plan(), said.append)
    assert said == ["Step 1/2 : RUN pip install"]


def test_no_engine_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK drops the socket that it could not connect
        assert build.main(["image", "--customize", "no such folder"]) == 2
        gc.collect()
    said = capsys.readouterr().err
    assert said.startswith("build.py image: no Docker engine answers")
    assert said.count("\n") == 1


def test_a_python_without_our_packages_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(build, "VERBS", {"image": "assembly_that_is_not_there"})
    assert build.main(["image"]) == 2
    said = "build.py: this Python has no package assembly_that_is_not_there; use .venv/bin/python, which `make env` makes\n"
    assert capsys.readouterr().err == said


def test_layer_table_leaves_out_empty_layers_and_hashes():
    made = image.BuiltImage(
        "sha256:" + "a" * 64, "x:1", 3_000_000, ((2_000_000, "COPY"), (0, "ENV"), (1_000_000, "RUN"))
    )
    assert list(made.lines()) == ["image: x:1 sha256:aaaaaaaaaaaa, 3 MB", "       2.0 MB  COPY", "       1.0 MB  RUN"]


def test_bundle_without_a_name_holds_the_images_inputs():
    inputs = plan()
    paths = [entry.path for entry in plan_product(inputs, None, "s3").entries]
    assert {"Dockerfile", "requirements.txt", "entrypoint.py", "customize/README.md"} <= set(paths)
    assert "Dockerrun.aws.json" not in paths
    named = [entry.path for entry in plan_product(inputs, "registry.example.org/cxg:1", "s3").entries]
    assert "Dockerrun.aws.json" in named
    assert "Dockerfile" not in named


def test_same_inputs_make_the_same_bundle():
    assert plan_product(plan(), None, "s3") == plan_product(plan(), None, "s3")
