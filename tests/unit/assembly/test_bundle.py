"""artifact.zip: what is in it for each kind and mode, and that equal inputs give equal bytes."""

import json
import re
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from assembly.bundle import MODES, MOUNT_POINT, finish_bundle, plan_bundle, write_bundle
from assembly.errors import AssemblyError
from assembly.overlays import read_overlays

ROOT = Path(__file__).resolve().parents[3]
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/cellxgene-eb:1.0.0-0123456789ab"


@pytest.fixture
def context(tmp_path):
    """A Dockerfile and what it copies."""
    folder = tmp_path / "context"
    (folder / "cxg").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\nEXPOSE 8000\n")
    (folder / "cxg" / "a.py").write_text("a = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def paths(plan):
    return [entry.path for entry in plan.entries]


def content(plan, path):
    return next(entry.content for entry in plan.entries if entry.path == path)


def dockerrun(plan):
    return json.loads(content(plan, "Dockerrun.aws.json"))


@pytest.mark.parametrize("mode", MODES)
def test_a_bundle_with_an_image_holds_its_name_and_no_dockerfile(mode):
    plan = plan_bundle(ROOT, image=IMAGE, mode=mode)
    document = dockerrun(plan)
    assert document["AWSEBDockerrunVersion"] == "1"
    assert document["Image"] == {"Name": IMAGE, "Update": "true"}
    assert document["Ports"] == [{"ContainerPort": 8000}]
    volumes = [{"HostDirectory": MOUNT_POINT, "ContainerDirectory": MOUNT_POINT}]
    assert document.get("Volumes") == (volumes if MODES[mode].mounted else None)
    assert "Dockerfile" not in paths(plan)
    assert all(path.split("/")[0] in {".ebextensions", ".platform", "Dockerrun.aws.json"} for path in paths(plan))


@pytest.mark.parametrize("mode", MODES)
def test_a_bundle_without_an_image_holds_the_dockerfile_and_its_context(mode, context):
    plan = plan_bundle(ROOT, context=context, mode=mode)
    assert {"Dockerfile", "cxg/a.py", "run.sh"} <= set(paths(plan))
    if MODES[mode].mounted:
        document = dockerrun(plan)
        assert "Image" not in document
        assert document["Volumes"][0]["ContainerDirectory"] == MOUNT_POINT
    else:
        assert "Dockerrun.aws.json" not in paths(plan)


@pytest.mark.parametrize(
    "mode, hook", [("s3", "10-metadata-hop-limit.sh"), ("fsx", "20-mount-fsx.sh"), ("s3-mount", "20-mount-s3.sh")]
)
def test_hooks_run_at_deployments_and_at_configuration_changes(mode, hook):
    plan = plan_bundle(ROOT, image=IMAGE, mode=mode)
    found = [entry for entry in plan.entries if entry.path.endswith(".sh")]
    assert [entry.path for entry in found] == [f".platform/{kind}/prebuild/{hook}" for kind in ("confighooks", "hooks")]
    assert all(stat.S_IMODE(entry.mode) == 0o755 for entry in found)
    for entry in found:
        assert entry.content.startswith(b"#!/bin/bash\n")
        assert b"\r" not in entry.content
        subprocess.run(["bash", "-n"], input=entry.content, check=True)


@pytest.mark.parametrize("mode", MODES)
def test_extensions_are_yaml_with_text_or_scalar_values_and_known_namespaces(mode):
    plan = plan_bundle(ROOT, image=IMAGE, mode=mode)
    extensions = {entry.path: yaml.safe_load(entry.content) for entry in plan.entries if entry.path.endswith(".config")}
    assert ".ebextensions/10-environment.config" in extensions
    for document in extensions.values():
        assert set(document) <= {"option_settings", "files"}
        for namespace, options in document.get("option_settings", {}).items():
            assert re.fullmatch(r"aws:[a-z0-9:]+", namespace)
            assert all(isinstance(value, str | int | bool) for value in options.values())
        for file in document.get("files", {}).values():
            assert file["mode"] == "000644"
            assert MOUNT_POINT in file["content"]


def test_the_port_is_the_one_that_the_image_listens_on():
    text = (ROOT / "Dockerfile").read_text()
    port = dockerrun(plan_bundle(ROOT, image=IMAGE))["Ports"][0]["ContainerPort"]
    assert re.findall(r"^EXPOSE (.*)$", text, re.MULTILINE) == [str(port)]
    assert f"CXG_PORT={port} " in text


def test_settings_that_matter_are_made():
    options = yaml.safe_load(content(plan_bundle(ROOT, image=IMAGE), ".ebextensions/10-environment.config"))[
        "option_settings"
    ]
    process = options["aws:elasticbeanstalk:environment:process:default"]
    assert process["HealthCheckPath"] == "/health/ready"
    assert options["aws:elasticbeanstalk:environment"]["LoadBalancerType"] == "application"
    assert options["aws:elbv2:loadbalancer"]["IdleTimeout"] == 120
    assert options["aws:autoscaling:trigger"]["MeasureName"] == "CPUUtilization"
    assert options["aws:elasticbeanstalk:cloudwatch:logs"]["StreamLogs"] is True


def test_equal_inputs_give_equal_bytes_whatever_the_times_and_the_order(context, tmp_path):
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    write_bundle(plan_bundle(ROOT, context=context), first)
    copy = tmp_path / "copy"
    for path in sorted(context.rglob("*"), reverse=True):
        if path.is_file():
            target = copy / path.relative_to(context)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
            target.chmod(path.stat().st_mode)
    write_bundle(plan_bundle(ROOT, context=copy), second)
    assert first.read_bytes() == second.read_bytes()
    (copy / "cxg" / "a.py").write_text("a = 2\n")
    write_bundle(plan_bundle(ROOT, context=copy), second)
    assert first.read_bytes() != second.read_bytes()


def test_the_zip_keeps_sorted_names_and_run_bits(context, tmp_path):
    target = tmp_path / "a.zip"
    write_bundle(plan_bundle(ROOT, context=context, mode="fsx"), target)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
    names = [info.filename for info in infos]
    assert names == sorted(names)
    modes = {info.filename: stat.S_IMODE(info.external_attr >> 16) for info in infos}
    assert modes["run.sh"] == modes[".platform/hooks/prebuild/20-mount-fsx.sh"] == 0o755
    assert modes["cxg/a.py"] == 0o644
    assert all(info.create_system == 3 for info in infos)
    subprocess.run(["unzip", "-qq", str(target), "-d", str(tmp_path / "out")], check=True)
    assert (tmp_path / "out" / ".platform/hooks/prebuild/20-mount-fsx.sh").stat().st_mode & 0o100


def test_the_sites_own_extensions_are_merged_and_never_hide_ours(tmp_path):
    site = tmp_path / "customize" / "ebextensions"
    site.mkdir(parents=True)
    (site / "90-site.config").write_text("option_settings: {}\n")
    plan = plan_bundle(ROOT, image=IMAGE, overlays=read_overlays(site.parent, ROOT / "requirements.txt"))
    assert content(plan, ".ebextensions/90-site.config") == b"option_settings: {}\n"
    (site / "10-environment.config").write_text("option_settings: {}\n")
    with pytest.raises(AssemblyError, match=r"\.ebextensions/10-environment\.config is in the bundle twice; rename"):
        plan_bundle(ROOT, image=IMAGE, overlays=read_overlays(site.parent, ROOT / "requirements.txt"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"image": "Not An Image"}, "is not a valid image name"),
        ({"image": "registry.example.org/cellxgene-eb"}, "has no tag"),
        ({"image": "localhost:5000/cellxgene-eb"}, "has no tag"),
        ({}, "either an image's name or the folder"),
        ({"image": IMAGE, "context": Path()}, "either an image's name or the folder"),
        ({"image": IMAGE, "mode": "nfs"}, "nfs is no way to reach the data; it is one of s3, fsx, s3-mount"),
        ({"context": Path("/nonexistent")}, "has no Dockerfile"),
    ],
)
def test_what_cannot_be_bundled_is_said_in_a_sentence(arguments, message):
    with pytest.raises(AssemblyError, match=re.escape(message)):
        plan_bundle(ROOT, **arguments)


def test_a_dockerfile_must_expose_its_port(context):
    (context / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(AssemblyError, match="no EXPOSE line"):
        plan_bundle(ROOT, context=context)


def test_links_are_refused(context):
    (context / "link").symlink_to("/etc/passwd")
    with pytest.raises(AssemblyError, match="is a link"):
        plan_bundle(ROOT, context=context)


def test_a_digest_names_an_image_too():
    image = "registry.example.org/cellxgene-eb@sha256:" + "a" * 64
    assert dockerrun(plan_bundle(ROOT, image=image))["Image"]["Name"] == image


def test_a_dry_run_prints_every_file_and_writes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, said = plan_bundle(ROOT, image=IMAGE), []
    finish_bundle(plan, tmp_path / "artifact.zip", said.append, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    text = "\n".join(said)
    assert IMAGE in text
    assert all(path in text for path in paths(plan))
    finish_bundle(plan, tmp_path / "artifact.zip", said.append)
    assert [path.name for path in tmp_path.iterdir()] == ["artifact.zip"]


def test_a_written_bundle_says_how_eb_comes_to_send_it(tmp_path, monkeypatch):
    """With the command that the documentation gives."""
    monkeypatch.chdir(tmp_path)
    said = []
    finish_bundle(plan_bundle(ROOT, image=IMAGE), Path("artifact.zip"), said.append)
    assert said[-1].strip() in (ROOT / "docs" / "deploy.md").read_text().splitlines()
