"""`cxg doctor`: each check, sound and not, as text and as JSON."""

import hashlib
import json

import pytest

from cxg.cli import doctor
from cxg.cli import main as cli
from cxg.config import load
from cxg.startup import mounts
from tests import cxgs

STRONG = "6b1f0a9cd8e24735a1f7c90b3d5e8246"


@pytest.fixture
def client(tmp_path):
    """A small client folder with a stamp."""
    folder = tmp_path / "client"
    (folder / "static").mkdir(parents=True)
    (folder / "index.html").write_text("<html><script>let a = 1;</script></html>")
    (folder / "static" / "main.js").write_text("let b = 2;")
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (folder / "stamp.json").write_text(json.dumps({"source": {}, "files": files}))
    return folder


@pytest.fixture
def site(tmp_path, client, monkeypatch):
    """A sound deployment: one dataset, a client, nothing else."""
    data = tmp_path / "data"
    name, build = "Xr-Xc", cxgs.KINDS["Xr-Xc"]
    build(data / f"{name}.cxg")
    for variable in ("CXG_CONFIG_FILE", "CXG_DATAPATH", "CXG_SECRET_KEY", "CXG_AWS_SECRET_NAME", "CXG_PLUGINS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(doctor, "BAKED_CONFIG", tmp_path / "absent.yaml")
    monkeypatch.setenv("CXG_DATAROOT", str(data))
    monkeypatch.setenv("CXG_CLIENT_DIR", str(client))
    monkeypatch.setenv("CXG_MEMORY_MB", "4096")
    monkeypatch.setenv("CXG_WORKERS", "2")
    return data


def examine(capsys, *arguments):
    """Exit code and outcome of `cxg doctor --json`: overall status, and checks by name."""
    code = cli.main(["doctor", "--json", *arguments])
    outcome = json.loads(capsys.readouterr().out)
    return code, outcome["status"], {check["name"]: check for check in outcome["checks"]}


def test_a_sound_deployment(site, capsys):
    code, status, checks = examine(capsys)
    assert (code, status) == (0, "ok"), checks
    dataset = checks[f"dataset {next(site.iterdir()).name}"]
    assert "cells" in dataset["text"]
    assert "TileDB format 2" in dataset["text"]
    assert "1 dataset," in checks["data"]["text"]
    assert checks["secret key"]["text"].startswith("none, and none is needed")
    assert checks["memory"]["text"].endswith("of 4,096 MB at most")
    assert "2 files" not in checks["web client"]["text"]
    assert set(checks) >= {"configuration", "plugins", "content security policy"}


def test_text_is_one_line_for_each_check(site, capsys):
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok    configuration: read from the defaults"
    assert lines[-1].endswith("checks, 0 failed, 0 with warnings")


def test_a_damaged_dataset_fails_and_the_others_are_still_checked(site, capsys):
    (site / "broken.cxg").mkdir()
    (site / "broken.cxg" / "file").write_text("x")
    code, status, checks = examine(capsys)
    assert (code, status) == (1, "failed")
    assert checks["dataset broken.cxg"]["status"] == "failed"
    assert [check["status"] for name, check in checks.items() if name.startswith("dataset ")].count("ok") == 1


@pytest.mark.parametrize(
    "kind, detail, outcome",
    [
        ("never-written", "it was never written", (0, "warning")),
        ("no-embedding", "no cells can be drawn", (1, "failed")),
    ],
)
def test_a_dataset_that_lacks_something_is_told(site, capsys, kind, detail, outcome):
    cxgs.KINDS[kind](site / "odd.cxg")
    code, status, checks = examine(capsys)
    assert (code, status) == outcome
    assert any(detail in line for line in checks["dataset odd.cxg"]["details"])


@pytest.mark.parametrize(
    "variables, name, status, text",
    [
        ({"CXG_SECRET_KEY": "asd"}, "secret key", "failed", "too easy to guess"),
        ({"CXG_SECRET_KEY": STRONG}, "secret key", "ok", "from CXG_SECRET_KEY, strong enough"),
        ({"CXG_DATAROOT": "/no/such/folder"}, "data", "failed", "cannot be listed"),
        ({"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh"}, "data", "failed", "nothing is mounted at /mnt/cxg"),
        ({"CXG_MEMORY_MB": "200", "CXG_WORKERS": "8"}, "memory", "failed", "lower CXG_WORKERS"),
        ({"CXG_CLIENT_DIR": "/no/such/folder"}, "web client", "failed", "make build-client"),
    ],
)
def test_single_faults(site, capsys, monkeypatch, variables, name, status, text):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    code, _, checks = examine(capsys)
    assert checks[name]["status"] == status
    assert text in checks[name]["text"]
    assert code == (1 if status == "failed" else 0)
    assert STRONG not in json.dumps(checks)


def test_a_mount_point_with_a_slash_at_its_end_is_found(site, capsys, monkeypatch):
    found = (mounts.Mounted(str(site.parent), "/", "lustre", "10.0.1.5@tcp:/abcdefgh"),)
    monkeypatch.setattr(mounts, "read_mounts", lambda: found)
    monkeypatch.setenv("CXG_MOUNT_POINT", f"{site.parent}/")
    monkeypatch.setenv("CXG_DATAROOT", f"lustre://fs@tcp:/abcdefgh/{site.name}")
    code, _, checks = examine(capsys)
    assert code == 0, checks
    assert checks["data"]["text"].startswith(f"CXG_DATAROOT {site} can be listed: 1 dataset")


def test_an_empty_dataroot_is_warned_of(site, capsys, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CXG_DATAROOT", str(tmp_path / "empty"))
    code, status, checks = examine(capsys)
    assert (code, status, checks["data"]["status"]) == (0, "warning", "warning")


def test_a_changed_client_fails(site, client, capsys):
    (client / "static" / "main.js").write_text("let b = 3;")
    code, _, checks = examine(capsys)
    assert code == 1
    assert checks["web client"]["details"] == ["static/main.js"]


def test_plugins_are_loaded_and_a_failing_one_is_named(site, capsys, monkeypatch, tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setenv("CXG_PLUGINS_DIR", str(folder))
    (folder / "a.py").write_text("def request_started(request):\n    pass\n")
    code, _, checks = examine(capsys)
    assert code == 0
    assert checks["plugins"]["text"] == "a.py"
    assert checks["secret key"]["status"] == "warning"
    (folder / "b.py").write_text("1 / 0\n")
    code, _, checks = examine(capsys)
    assert code == 1
    assert "b.py" in checks["plugins"]["text"]


def test_an_image_without_data_is_checked_with_a_switch(site, capsys, monkeypatch):
    monkeypatch.delenv("CXG_DATAROOT")
    assert cli.main(["doctor"]) == 2
    assert "set CXG_DATAROOT" in capsys.readouterr().err
    code, status, checks = examine(capsys, "--without-data")
    assert (code, status) == (0, "ok")
    assert checks["data"]["status"] == "skipped"


def test_a_configuration_that_cannot_be_read_ends_with_code_2(site, capsys, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("servr: {}\n")
    assert cli.main(["doctor", "--config", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "servr" in printed.err


@pytest.mark.parametrize(
    "text, fault",
    [
        ("server: {csp_directives: {script-src: [\"'unsafe-inline'\"]}}", "list: script-src has 'unsafe-inline'"),
        ('server: {csp_directives: {script-src: ["https:"]}}', "explorer: script-src has https:"),
        ('server: {csp_directives: {frame-ancestors: ["*"]}}', "frame-ancestors lets any site"),
    ],
)
def test_policies_that_let_too_much_through_are_warned_of(site, capsys, tmp_path, text, fault):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, _, checks = examine(capsys, "--config", str(path))
    assert code == 0
    policy = checks["content security policy"]
    assert policy["status"] == "warning"
    assert any(fault in detail for detail in policy["details"])


def test_our_own_policies_have_no_fault():
    config = load("", {}).config
    assert list(doctor.policy_faults(doctor.plain_policy(config))) == []
    assert list(doctor.policy_faults("")) != []
