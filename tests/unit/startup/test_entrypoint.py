"""Process 1: which configuration, which data, which checks, in which order, and how it fails."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import entrypoint
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError, StorageUnavailable
from cxg.memory import MemoryPlan
from cxg.startup import mounts
from cxg.startup import preflight as reach
from cxg.startup.gunicorn import server_environment
from tests.fake_aws import FakeAws

ROOT = Path(entrypoint.__file__).parent
NOT_BAKED = Path("/nonexistent/config.yaml")


PLAN = MemoryPlan(total_mb=4096, workers=2, threads=8, answers_mb=300)
STRONG = "0123456789abcdef0123456789abcdef"


def machine(mount=None, mounted=()):
    """A machine on which `mounted` is mounted, `mount` mounts, and the test goes on as the user it is."""
    return entrypoint.Machine(
        lambda: mounted, mount or (lambda *_: pytest.fail("nothing was to be mounted")), lambda user: None
    )


@pytest.fixture
def dataroot(tmp_path):
    """A folder of datasets."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def baked(tmp_path, dataroot):
    """A configuration that is part of the image."""
    path = tmp_path / "baked.yaml"
    path.write_text(f"multi_dataset: {{dataroot: {dataroot}}}\n")
    return path


@pytest.fixture
def s3():
    """AWS with what a test puts there."""
    return FakeAws()


def prepare(env, baked=NOT_BAKED, aws=None, on=None):
    """What is prepared, and the environment that gunicorn gets."""
    env = {**entrypoint.CONTAINER_DEFAULTS, **env}
    prepared = entrypoint.make_ready(Runtime.of(env), aws or FakeAws(), baked, on or machine())
    return prepared, server_environment(env, prepared, PLAN)


# ---- step 1: configuration


def test_the_baked_configuration_wins_over_the_named_one_and_says_so(baked, dataroot, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text("multi_dataset: {dataroot: /elsewhere}\n")
    env = {"CXG_CONFIG_FILE": str(other)}
    _, found = prepare(env, baked)
    assert found["CXG_DATAROOT"] == str(dataroot)
    assert found["CXG_CONFIG_FILE"] == str(baked)
    assert f"CXG_CONFIG_FILE {other} is not used" in capsys.readouterr().err


def test_the_named_file_is_read_when_none_is_baked(baked, dataroot):
    _, found = prepare({"CXG_CONFIG_FILE": str(baked)})
    assert (found["CXG_DATAROOT"], found["CXG_CONFIG_FILE"]) == (str(dataroot), str(baked))


def test_a_file_on_s3_is_read_and_kept_in_memory_for_the_workers(s3, dataroot):
    s3.objects["s3://conf/site.yaml"] = f"multi_dataset: {{dataroot: {dataroot}}}\nserver: {{port: 8123}}\n".encode()
    env = {"CXG_CONFIG_FILE": "s3://conf/site.yaml", "AWS_DEFAULT_REGION": "eu-west-1"}
    prepared, found = prepare(env, aws=s3)
    assert prepared.config.server.port == 8123
    assert s3.calls == [("read", "s3://conf/site.yaml", "eu-west-1", None, False)]
    path = found["CXG_CONFIG_FILE"]
    assert path.startswith("/proc/self/fd/")
    number = int(path.rsplit("/", 1)[1])
    assert os.get_inheritable(number)
    # As the workers do: another process, twice.
    for _ in range(2):
        seen = subprocess.run(["cat", path], capture_output=True, pass_fds=(number,), check=True).stdout
        assert b"port: 8123" in seen
    os.close(number)


def test_a_public_configuration_on_s3_is_read_without_credentials(s3, dataroot):
    s3.credentials = None
    s3.objects["s3://conf/site.yaml"] = f"multi_dataset: {{dataroot: {dataroot}}}\n".encode()
    prepare({"CXG_CONFIG_FILE": "s3://conf/site.yaml"}, aws=s3)
    assert s3.calls == [("read", "s3://conf/site.yaml", None, None, True)]


def test_the_dataroot_variable_alone_is_enough(dataroot):
    prepared, found = prepare({"CXG_DATAROOT": str(dataroot)})
    assert prepared.config.multi_dataset.dataroot == str(dataroot)
    assert prepared.secret is None
    assert "CXG_CONFIG_FILE" not in found
    assert "CXG_SECRET_KEY" not in found


def test_the_dataroot_variable_overrides_the_configuration(baked, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    prepared, found = prepare({"CXG_DATAROOT": str(other)}, baked)
    assert prepared.config.multi_dataset.dataroot == str(other)
    assert found["CXG_DATAROOT"] == str(other)


def test_a_container_listens_on_every_address_unless_told_otherwise(dataroot):
    for given, host in (({}, "0.0.0.0"), ({"CXG_HOST": "127.0.0.1"}, "127.0.0.1")):
        prepared, found = prepare({"CXG_DATAROOT": str(dataroot), **given})
        assert (prepared.config.server.host, found["CXG_HOST"]) == (host, host)


def test_one_dataset_alone_can_be_served(dataroot):
    prepared, found = prepare({"CXG_DATAPATH": str(dataroot)})
    assert prepared.config.single_dataset.datapath == str(dataroot)
    assert "CXG_DATAROOT" not in found


# ---- step 2: secret key


def test_the_secret_is_handed_on_and_its_name_is_not(s3, dataroot, capsys):
    s3.secrets["site"] = f'{{"flask_secret_key": "{STRONG}"}}'
    _, found = prepare({"CXG_DATAROOT": str(dataroot), "CXG_AWS_SECRET_NAME": "site", "AWS_REGION": "r1"}, aws=s3)
    assert found["CXG_SECRET_KEY"] == STRONG
    assert "CXG_AWS_SECRET_NAME" not in found
    printed = capsys.readouterr()
    assert "secret key: AWS Secrets Manager (site, r1)" in printed.err
    assert STRONG not in printed.err + printed.out


def test_a_weak_secret_is_warned_of_and_not_printed(dataroot, capsys):
    prepare({"CXG_DATAROOT": str(dataroot), "CXG_SECRET_KEY": "hunter2"})
    printed = capsys.readouterr().err
    assert "warning: the secret key from CXG_SECRET_KEY is too easy to guess" in printed
    assert "hunter2" not in printed


def test_the_secret_comes_before_the_mount(s3):
    s3.secrets["site"] = ConfigError("CXG_AWS_SECRET_NAME site: access is denied.")
    env = {"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh", "CXG_AWS_SECRET_NAME": "site", "AWS_REGION": "r1"}
    with pytest.raises(ConfigError, match="CXG_AWS_SECRET_NAME site"):
        prepare(env, aws=s3)


def test_a_wrong_region_of_the_data_does_not_keep_the_secret_from_being_asked_for(s3, tmp_path):
    """The region that the configuration names is that of the secret; only then is it compared with the bucket's."""
    s3.regions["data"], s3.secrets["site"] = "eu-central-1", f'{{"flask_secret_key": "{STRONG}"}}'
    path = tmp_path / "config.yaml"
    path.write_text("{multi_dataset: {dataroot: 's3://data/p'}, data_locator: {s3: {region_name: us-east-1}}}\n")
    with pytest.raises(ConfigError, match=r"data_locator.s3.region_name is us-east-1"):
        prepare({"CXG_CONFIG_FILE": str(path), "CXG_AWS_SECRET_NAME": "site"}, aws=s3)
    assert s3.calls[0] == ("secret", "site", "us-east-1")


# ---- step 3: mount


def test_a_lustre_dataroot_is_mounted_then_checked_and_served_as_a_path(dataroot):
    asked = []

    def mount(wanted, point, options):
        asked.append((wanted.source, point))
        return str(dataroot)

    _, found = prepare({"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh/atlas"}, on=machine(mount))
    assert asked == [("fs@tcp:/abcdefgh", "/mnt/cxg")]
    assert found["CXG_DATAROOT"] == str(dataroot)
    prepare({"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh", "CXG_MOUNT_POINT": "/data"}, on=machine(mount))
    assert asked[-1] == ("fs@tcp:/abcdefgh", "/data")


def test_root_is_given_up_after_the_mount_and_before_the_check(tmp_path):
    steps = []

    def mount(wanted, point, options):
        steps.append("mount")
        return str(tmp_path / "absent")

    on = entrypoint.Machine(tuple, mount, steps.append)
    with pytest.raises(ConfigError, match="cannot be listed"):
        prepare({"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh", "CXG_RUN_AS": "somebody"}, on=on)
    assert steps == ["mount", "somebody"]


def test_a_mounted_bucket_gets_the_region_endpoint_and_signing_of_the_configuration(s3, dataroot, tmp_path):
    options = []
    on = machine(lambda wanted, point, how: options.append(how) or str(dataroot))
    s3.regions["data"] = "eu-west-1"
    prepare({"CXG_DATAROOT": "s3://data/p", "CXG_S3_MOUNT": "1"}, aws=s3, on=on)
    path = tmp_path / "config.yaml"
    path.write_text("data_locator: {s3: {endpoint_url: 'http://minio:9000', no_sign_request: true, region_name: r1}}\n")
    prepare({"CXG_DATAROOT": "s3://data/p", "CXG_S3_MOUNT": "1", "CXG_CONFIG_FILE": str(path)}, aws=s3, on=on)
    assert options == [mounts.S3Options("eu-west-1"), mounts.S3Options("r1", "http://minio:9000", True)]
    # What is served is a folder, so S3 is not listed; its credentials are for the client that mounts it.
    assert s3.calls == [("credentials", "CXG_DATAROOT s3://data/p")]


def test_a_mount_point_with_a_slash_at_its_end_is_looked_at(s3, dataroot):
    """What the host has mounted there needs no credentials in the container."""
    found = (mounts.Mounted("/data/cxg", "/", "fuse", "mountpoint-s3"),)
    s3.credentials = None
    env = {"CXG_DATAROOT": "s3://data/p", "CXG_S3_MOUNT": "1", "CXG_MOUNT_POINT": "/data/cxg/"}
    prepare(env, aws=s3, on=machine(lambda *_: str(dataroot), found))
    assert s3.calls == []


# ---- step 4: checks


def test_an_s3_dataroot_is_listed_and_its_region_settled(s3):
    s3.regions["data"] = "eu-central-1"
    prepared, found = prepare({"CXG_DATAROOT": "s3://data/p", "AWS_REGION": "us-east-1"}, aws=s3)
    assert s3.calls == [
        ("credentials", "CXG_DATAROOT s3://data/p"),
        ("list", "s3://data/p", "eu-central-1", None, False),
    ]
    assert (found["AWS_REGION"], prepared.runtime.aws.region) == ("eu-central-1", "eu-central-1")
    assert found["CXG_DATAROOT"] == "s3://data/p"


def test_the_region_of_a_bucket_is_asked_for_once(s3, dataroot):
    """For the secret, for the mount and for the listing."""
    s3.regions["data"], s3.secrets["site"] = "eu-central-1", f'{{"flask_secret_key": "{STRONG}"}}'
    env = {"CXG_DATAROOT": "s3://data/p", "CXG_AWS_SECRET_NAME": "site"}
    prepare(env, aws=s3)
    assert s3.asked_regions == ["data"]
    assert ("secret", "site", "eu-central-1") in s3.calls
    prepare({**env, "CXG_S3_MOUNT": "1"}, aws=s3, on=machine(lambda *_: str(dataroot)))
    assert s3.asked_regions == ["data"] * 2


def test_a_public_bucket_needs_no_credentials(s3, tmp_path):
    s3.credentials = None
    path = tmp_path / "config.yaml"
    path.write_text("{multi_dataset: {dataroot: 's3://data/p'}, data_locator: {s3: {no_sign_request: true}}}\n")
    prepare({"CXG_CONFIG_FILE": str(path)}, aws=s3)
    assert s3.calls == [("list", "s3://data/p", None, None, True)]


def test_missing_credentials_stop_the_start_before_the_listing(s3):
    s3.credentials = None
    with pytest.raises(ConfigError, match="no credentials"):
        prepare({"CXG_DATAROOT": "s3://data/p"}, aws=s3)
    assert s3.calls == [("credentials", "CXG_DATAROOT s3://data/p")]


def test_an_empty_bucket_is_no_fault(s3, capsys):
    s3.filled = False
    prepare({"CXG_DATAROOT": "s3://data/p"}, aws=s3)
    assert "warning: CXG_DATAROOT s3://data/p holds nothing yet" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ConfigError, StorageUnavailable])
def test_a_refused_listing_names_the_setting(s3, error, tmp_path):
    s3.filled = error("s3://data/p: access is denied.")
    with pytest.raises(error, match=r"^CXG_DATAROOT s3://data/p: access is denied"):
        prepare({"CXG_DATAROOT": "s3://data/p"}, aws=s3)
    path = tmp_path / "config.yaml"
    path.write_text("multi_dataset: {dataroot: 's3://data/p'}\n")
    with pytest.raises(error, match=r"^multi_dataset.dataroot s3://data/p: access is denied"):
        prepare({"CXG_CONFIG_FILE": str(path)}, aws=s3)


def test_a_wrong_region_in_the_configuration_is_told_with_the_right_one(s3, tmp_path):
    s3.regions["data"] = "eu-central-1"
    path = tmp_path / "config.yaml"
    path.write_text("{multi_dataset: {dataroot: 's3://data/p'}, data_locator: {s3: {region_name: us-east-1}}}\n")
    with pytest.raises(ConfigError, match=r"data_locator.s3.region_name is us-east-1, but .* is in eu-central-1"):
        prepare({"CXG_CONFIG_FILE": str(path)}, aws=s3)


def test_s3_settings_of_tiledb_itself_are_left_alone(s3, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(
        "multi_dataset: {dataroot: 's3://data/p'}\n"
        "adaptor: {cxg_adaptor: {tiledb_ctx: {vfs.s3.endpoint_override: 'minio:9000'}}}\n"
    )
    prepare({"CXG_CONFIG_FILE": str(path)}, aws=s3)
    assert s3.calls == []
    assert "was not checked" in capsys.readouterr().err


def test_a_folder_that_does_not_answer_is_given_up(monkeypatch, dataroot):
    released = threading.Event()

    def hangs(path):
        released.wait(30)
        raise OSError

    monkeypatch.setattr(reach.os, "scandir", hangs)
    with pytest.raises(StorageUnavailable, match="no answer within"):
        reach.check_folder(str(dataroot), "CXG_DATAROOT", timeout_s=0.05)
    released.set()


def test_an_unreadable_folder_names_the_user(dataroot, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reach.os, "scandir", refused)
    with pytest.raises(ConfigError, match=f"make it readable for user {os.geteuid()}"):
        reach.check_folder(str(dataroot), "CXG_DATAROOT")


# ---- failures, as the operator sees them: a process of its own, one line, exit code 2

FAILURES = {
    "nothing to serve": ({}, None, "There is nothing to serve: set CXG_DATAROOT"),
    "empty dataroot": ({"CXG_DATAROOT": ""}, None, "There is nothing to serve: set CXG_DATAROOT"),
    "no such configuration": ({"CXG_CONFIG_FILE": "/no/such.yaml"}, None, "CXG_CONFIG_FILE /no/such.yaml"),
    "configuration is a folder": ({"CXG_CONFIG_FILE": "/etc"}, None, "CXG_CONFIG_FILE /etc"),
    "configuration without data": ({}, "server: {verbose: true}", "set multi_dataset.dataroot"),
    "unknown key": ({}, "multi_dataset: {dataroott: /tmp}", "dataroott"),
    "not YAML": ({}, "server: [", "config.yaml"),
    "no such folder": ({"CXG_DATAROOT": "/no/such/folder"}, None, "CXG_DATAROOT /no/such/folder cannot be listed"),
    "no such folder in the file": ({}, "multi_dataset: {dataroot: /no/such}", "multi_dataset.dataroot /no/such"),
    "dataroot is a file": ({"CXG_DATAROOT": "/etc/passwd"}, None, "name the folder that holds the datasets"),
    "unknown scheme": ({"CXG_DATAROOT": "gs://bucket"}, None, "gs://"),
    "bad lustre": ({"CXG_DATAROOT": "lustre://host/x"}, None, "lustre://<dns name>@tcp:/<mountname>"),
    "bad port": ({"CXG_DATAROOT": "/tmp", "CXG_PORT": "http"}, None, "CXG_PORT"),
    "mount of a folder": ({"CXG_DATAROOT": "/tmp", "CXG_S3_MOUNT": "1"}, None, "must be an s3:// URI"),
    "relative mount point": (
        {"CXG_DATAROOT": "lustre://h@tcp:/abcdefgh", "CXG_MOUNT_POINT": "x"},
        None,
        "CXG_MOUNT_POINT is x",
    ),
    "no credentials": ({"CXG_DATAROOT": "s3://data/p"}, None, "CXG_DATAROOT s3://data/p needs AWS credentials"),
    "no credentials for the configuration": (
        {"CXG_CONFIG_FILE": "s3://conf/c.yaml", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        None,
        "CXG_CONFIG_FILE s3://conf/c.yaml",
    ),
    "store away": (
        {
            "CXG_DATAROOT": "s3://data/p",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "hunter2",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
        },
        None,
        "CXG_DATAROOT s3://data",
    ),
    "secret without a region": (
        {"CXG_DATAROOT": "/tmp", "CXG_AWS_SECRET_NAME": "site"},
        None,
        "set CXG_AWS_SECRET_REGION_NAME",
    ),
    "secret away": (
        {
            "CXG_DATAROOT": "/tmp",
            "CXG_AWS_SECRET_NAME": "site",
            "CXG_AWS_SECRET_REGION_NAME": "eu-west-1",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "hunter2",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
        },
        None,
        "CXG_AWS_SECRET_NAME site (eu-west-1)",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_every_failure_is_one_line_that_names_the_setting_and_exit_code_2(case, tmp_path):
    given, text, message = FAILURES[case]
    env = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), **given}
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
        env["CXG_CONFIG_FILE"] = str(tmp_path / "config.yaml")
    # A copy elsewhere, so that a configuration of the developer's own in customize/ is not taken for a baked one.
    (tmp_path / "entrypoint.py").write_text((ROOT / "entrypoint.py").read_text())
    env["PYTHONPATH"] = str(ROOT)
    finished = subprocess.run(
        [sys.executable, str(tmp_path / "entrypoint.py")],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = finished.stderr.splitlines()
    assert finished.returncode == 2, finished.stderr
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("cellxgene-eb: error: ")
    assert message in lines[0]
    assert "hunter2" not in lines[0]
    assert finished.stdout == ""


# ---- step 5: gunicorn


def test_the_process_becomes_gunicorn(dataroot, monkeypatch, capsys):
    class Replaced(BaseException):
        """The process is another program now."""

    def execvpe(program, arguments, env):
        raise Replaced(program, arguments, env)

    monkeypatch.setattr(os, "execvpe", execvpe)
    for name, value in {
        "CXG_DATAROOT": str(dataroot),
        "CXG_PORT": "5123",
        "CXG_WORKERS": "3",
        "CXG_THREADS": "2",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CXG_CONFIG_FILE", raising=False)
    monkeypatch.setenv("CXG_HOST", "127.0.0.1")
    with pytest.raises(Replaced) as caught:
        entrypoint.main(NOT_BAKED, machine())
    program, command, env = caught.value.args
    assert program == command[0]
    text = " ".join(command)
    assert "--bind 127.0.0.1:5123" in text
    assert "--workers 3" in text
    assert "--threads 2" in text
    assert env["CXG_DATAROOT"] == str(dataroot)
    assert env["CXG_WORKERS"] == "3"
    assert "workers x threads" in capsys.readouterr().err


def test_a_fault_of_our_own_is_one_line_too(dataroot, monkeypatch, capsys):
    def fails():
        raise RuntimeError("two\nlines")

    monkeypatch.setenv("CXG_DATAROOT", "s3://data/p")
    monkeypatch.setenv("CXG_S3_MOUNT", "1")
    monkeypatch.delenv("CXG_CONFIG_FILE", raising=False)
    with pytest.raises(SystemExit) as caught:
        entrypoint.main(NOT_BAKED, entrypoint.Machine(fails))
    assert caught.value.code == 2
    assert capsys.readouterr().err == "cellxgene-eb: error: RuntimeError: two lines; please report this.\n"


def test_every_problem_of_a_configuration_is_told(tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("server: {prot: 1}\ndifexp: {}\n")
    with pytest.raises(SystemExit):
        entrypoint.main(path, machine())
    lines = capsys.readouterr().err.splitlines()
    assert any("prot" in line for line in lines)
    assert any("difexp" in line for line in lines)
    assert all(line.startswith("cellxgene-eb: error: ") for line in lines)
