"""The `cxg` command: exit codes, and one line for whatever cannot be used."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxg import __version__
from cxg.aws import calls
from cxg.cli import launch
from cxg.errors import ConfigError, ConversionError, CxgError, StorageUnavailable
from cxg.startup import first_look as firstlook
from tests import cxgs
from tests.fake_aws import FakeAws
from tests.served import stand_in_client

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    """AWS with what a test puts there."""
    fake = FakeAws()
    monkeypatch.setattr(calls, "Aws", lambda environment: fake)
    return fake


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one dataset; the client is a stand-in."""
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5, n_var=5)
    monkeypatch.setenv("CXG_CLIENT_DIR", str(stand_in_client(tmp_path / "client")))
    return tmp_path / "data"


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_version_and_help(run: Run) -> None:
    code, out, err = run("--version")
    assert (code, err) == (0, "")
    assert out.startswith(f"cellxgene-eb {__version__}\ntiledb ")
    assert f"Python {platform.python_version()}" in out
    code, out, _ = run("--help")
    assert code == 0
    for command in ("launch", "convert", "inspect", "config", "doctor"):
        assert command in out
        assert run(command, "--help")[0] == 0


@pytest.mark.parametrize(
    "arguments", [(), ("nope",), ("launch", "--nope"), ("config",), ("config", "nope"), ("launch", "--port", "x")]
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("cxg")
    assert "Traceback" not in err


def test_the_default_configuration_can_be_dumped_and_used(run: Run, tmp_path: Path) -> None:
    code, out, err = run("launch", "--dump-default-config")
    assert (code, err) == (0, "")
    (tmp_path / "config.yaml").write_text(out)
    code, out, err = run("config", "check", str(tmp_path / "config.yaml"))
    assert (code, err) == (0, "")


def test_a_folder_is_served(run: Run, data: Path, started: list[Any]) -> None:
    port = free_port()
    code, out, err = run("launch", str(data), "--port", str(port))
    assert (code, err) == (0, "")
    assert f"Serving {data}" in out
    assert f"http://localhost:{port}/" in out
    assert "all workers at most" in out
    ((command, env),) = started
    assert f"127.0.0.1:{port}" in command
    assert (env["CXG_DATAROOT"], env["CXG_DATAPATH"]) == (str(data), "")


def test_one_dataset_is_served(run: Run, data: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    monkeypatch.setenv("CXG_DATAROOT", "/elsewhere")
    assert run("launch", "a.cxg", "--port", str(free_port()))[0] == 0
    ((_, env),) = started
    assert (env["CXG_DATAROOT"], env["CXG_DATAPATH"]) == ("", str(data / "a.cxg"))


@pytest.mark.parametrize(
    "host, shown", [("::1", "[::1]"), ("::", "localhost"), ("0.0.0.0", "localhost"), ("127.0.0.2", "127.0.0.2")]
)
def test_the_address_that_is_printed_can_be_opened(
    run: Run, data: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch, host: str, shown: str
) -> None:
    monkeypatch.setattr(launch, "check_port", lambda host, port: None)  # not every machine has IPv6
    code, out, _ = run("launch", str(data), "--host", host, "--port", "5999")
    assert code == 0
    assert f"Open http://{shown}:5999/ in" in out
    assert len(started) == 1


@pytest.mark.parametrize(
    "uri, name",
    [
        ("s3://bucket/data", "CXG_DATAROOT"),
        ("s3://bucket/data/a.cxg", "CXG_DATAPATH"),
        ("s3://bucket/a.cxg/", "CXG_DATAPATH"),
    ],
)
@pytest.mark.usefixtures("data")
def test_s3(run: Run, aws: FakeAws, started: list[Any], monkeypatch: pytest.MonkeyPatch, uri: str, name: str) -> None:
    aws.regions["bucket"], aws.filled = "eu-central-1", False
    monkeypatch.setattr(firstlook.FirstLook, "run", lambda _: None)  # there is no such bucket
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    code, _, err = run("launch", uri, "--port", str(free_port()))
    warning = f"cxg: warning: cxg launch {uri} holds nothing yet; datasets put there appear within half a minute.\n"
    assert (code, err) == (0, warning)
    assert aws.calls == [("credentials", f"cxg launch {uri}"), ("list", uri, "eu-central-1", None, False)]
    assert (started[0][1][name], started[0][1]["AWS_REGION"]) == (uri, "eu-central-1")


@pytest.mark.parametrize("error", [ConfigError("there is no such bucket."), StorageUnavailable("AWS is away.")])
@pytest.mark.usefixtures("data")
def test_s3_that_cannot_be_read(
    run: Run, aws: FakeAws, started: list[Any], monkeypatch: pytest.MonkeyPatch, error: CxgError
) -> None:
    aws.filled = error
    monkeypatch.setenv("CXG_DATAROOT", "s3://bucket/data")
    code, out, err = run("launch", "--port", str(free_port()))
    assert (code, out, err) == (2, "", f"cxg: CXG_DATAROOT {error}\n")
    assert started == []


def test_the_secret_of_aws_is_handed_on_and_its_name_is_not(
    run: Run, aws: FakeAws, data: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.secrets["site"] = '{"flask_secret_key": "asd"}'
    monkeypatch.setenv("CXG_AWS_SECRET_NAME", "site")
    monkeypatch.setenv("CXG_AWS_SECRET_REGION_NAME", "eu-west-1")
    monkeypatch.setenv("CXG_SECRET_KEY", "not this one")
    code, out, err = run("launch", str(data), "--port", str(free_port()))
    assert code == 0
    assert "asd" not in out + err
    assert "too easy to guess" in err
    ((_, env),) = started
    assert env["CXG_SECRET_KEY"] == "asd"
    assert "CXG_AWS_SECRET_NAME" not in env
    assert env.get("AWS_REGION") == os.environ.get("AWS_REGION")


def test_a_secret_that_cannot_be_had_stops_the_start(
    run: Run, aws: FakeAws, data: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXG_AWS_SECRET_NAME", "site")
    monkeypatch.setenv("CXG_AWS_SECRET_REGION_NAME", "eu-west-1")
    aws.secrets["site"] = ConfigError("CXG_AWS_SECRET_NAME site: no such secret.")
    code, _, err = run("launch", str(data), "--port", str(free_port()))
    assert (code, err) == (2, "cxg: CXG_AWS_SECRET_NAME site: no such secret.\n")
    assert started == []


def test_a_launch_on_plain_files_loads_nothing_of_aws(project: Path, data: Path) -> None:
    program = (
        "import os, sys\nfrom cxg.cli import main\n"
        "os.execve = lambda *_: None\n"
        f"main.main(['launch', {str(data)!r}, '--port', '{free_port()}'])\n"
        "print([name for name in sys.modules if name in ('boto3', 'botocore', 'cxg.startup.preflight', 'cxg.startup.secret_key')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.usefixtures("data")
def test_the_command_line_wins_over_the_file(run: Run, data: Path, tmp_path: Path, started: list[Any]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"server: {{port: 1, host: 127.0.0.2}}\nmulti_dataset: {{dataroot: {data}}}\n")
    port = str(free_port())
    assert run("launch", "--config", str(file), "--port", port, "--host", "127.0.0.1", "--verbose")[0] == 0
    ((command, env),) = started
    assert f"127.0.0.1:{port}" in command
    assert env["CXG_VERBOSE"] == "true"
    assert env["CXG_CONFIG_FILE"] == str(file)


# Arguments, and what the one line must say. {data} and {tmp} are folders, {busy} is a port in use.
BAD_LAUNCHES = [
    (("{tmp}/my.h5ad",), "There is no file {tmp}/my.h5ad"),
    (("{tmp}/MY.H5AD",), "There is no file {tmp}/MY.H5AD"),
    (("{tmp}/my.h5",), "Convert it first: cxg convert {tmp}/my.h5"),
    (("s3://bucket/my.h5ad",), "Convert it first"),
    (("{tmp}/nope",), "There is no folder {tmp}/nope"),
    (("{data}/a.cxg/cxg_group_metadata/__schema/none",), "There is no folder"),
    ((), "Say what to serve"),
    (("{data}", "--config", "{tmp}/nope.yaml"), "nope.yaml"),
    (("{data}", "--config", "{tmp}"), "{tmp}"),
    (("{data}", "--client", "{tmp}/nope"), "make build-client"),
    (("{data}", "--port", "{busy}"), "Cannot listen on 127.0.0.1:{busy}"),
    (("{data}", "--port", "70000"), "70000"),
    (("{data}", "--port", "-1"), "-1"),
    (("{data}", "--host", "no.such.host.invalid"), "no.such.host.invalid"),
    (("{data}", "--host", "192.0.2.1"), "192.0.2.1"),
    (("{data}", "--host", "2001:db8::1"), "Cannot listen on [2001:db8::1]:"),
    (("s3://", "--port", "1"), "s3://"),
]


@pytest.mark.parametrize("arguments, said", BAD_LAUNCHES)
def test_a_launch_that_cannot_be(
    run: Run, data: Path, tmp_path: Path, started: list[Any], arguments: tuple[str, ...], said: str
) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        places = {"data": data, "tmp": tmp_path, "busy": busy.getsockname()[1]}
        code, out, err = run("launch", *(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert started == []
    assert err.startswith("cxg: ")
    assert err.count("\n") == 1
    assert said.format(**places) in err


def test_every_problem_of_a_configuration_has_a_line(run: Run, data: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("server: {prot: 1, port: many}\n")
    code, out, err = run("launch", str(data), "--config", str(tmp_path / "config.yaml"))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert all(line.startswith("cxg: ") for line in err.splitlines())


@pytest.mark.parametrize(
    "error, code, said",
    [
        (ConversionError("It is broken."), 2, "cxg: It is broken.\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_how_a_command_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(launch, "run", fail)
    assert run("launch", "x") == (code, "", said)


def test_the_installed_command_shows_no_traceback(project: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-m", "cxg.cli.main", "launch", str(tmp_path / "a.h5")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr
        == f"cxg: {tmp_path}/a.h5 is no CXG, which is what is served. Convert it first: cxg convert {tmp_path}/a.h5\n"
    )
