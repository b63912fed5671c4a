"""Process 1: which configuration, which data, which checks, in which order, and how it fails."""

import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

import entrypoint
from cxg import aws
from cxg.errors import ConfigError, StorageUnavailable
from cxg.startup import mounts
from cxg.startup import preflight as reach

ROOT = Path(entrypoint.__file__).parent
NOT_BAKED = Path("/nonexistent/config.yaml")


@pytest.fixture(autouse=True)
def no_privileges_to_drop(monkeypatch):
    """Tests may run as root and must go on as root."""
    monkeypatch.setattr(entrypoint, "drop_root", lambda user: None)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


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
def s3(monkeypatch):
    """AWS as seen through `cxg.aws`: answers that a test sets, calls that it reads."""
    state = types.SimpleNamespace(
        objects={}, credentials="env", regions={}, filled=True, calls=[], no_credentials=ConfigError("no credentials")
    )

    def read_object(uri, region, endpoint, unsigned=False):
        state.calls.append(("read", uri, region, endpoint, unsigned))
        found = state.objects[uri]
        if isinstance(found, Exception):
            raise found
        return found

    def has_objects(uri, region, endpoint, unsigned=False):
        state.calls.append(("list", uri, region, endpoint, unsigned))
        if isinstance(state.filled, Exception):
            raise state.filled
        return state.filled

    def check_credentials(what, env):
        state.calls.append(("credentials", what))
        if state.credentials is None:
            raise state.no_credentials

    monkeypatch.setattr(aws, "read_object", read_object)
    monkeypatch.setattr(aws, "has_objects", has_objects)
    monkeypatch.setattr(aws, "check_credentials", check_credentials)
    monkeypatch.setattr(aws, "find_credentials", lambda: state.credentials)
    monkeypatch.setattr(aws, "bucket_region", lambda bucket, endpoint=None: state.regions.get(bucket))
    return state


def prepare(env, baked=NOT_BAKED):
    config, key = entrypoint.prepare(env, baked)
    return config, key


# ---- step 1: configuration


def test_the_baked_configuration_wins_over_the_named_one_and_says_so(baked, dataroot, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text("multi_dataset: {dataroot: /elsewhere}\n")
    env = {"CXG_CONFIG_FILE": str(other)}
    prepare(env, baked)
    assert env["CXG_DATAROOT"] == str(dataroot)
    assert env["CXG_CONFIG_FILE"] == str(baked)
    assert f"CXG_CONFIG_FILE {other} is not used" in capsys.readouterr().err


def test_the_named_file_is_read_when_none_is_baked(baked, dataroot):
    env = {"CXG_CONFIG_FILE": str(baked)}
    prepare(env)
    assert (env["CXG_DATAROOT"], env["CXG_CONFIG_FILE"]) == (str(dataroot), str(baked))


def test_a_file_on_s3_is_read_and_kept_in_memory_for_the_workers(s3, dataroot):
    s3.objects["s3://conf/site.yaml"] = f"multi_dataset: {{dataroot: {dataroot}}}\nserver: {{port: 8123}}\n".encode()
    env = {"CXG_CONFIG_FILE": "s3://conf/site.yaml", "AWS_DEFAULT_REGION": "eu-west-1"}
    config, _ = prepare(env)
    assert config.server.port == 8123
    assert s3.calls == [("read", "s3://conf/site.yaml", "eu-west-1", None, False)]
    path = env["CXG_CONFIG_FILE"]
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
    prepare({"CXG_CONFIG_FILE": "s3://conf/site.yaml"})
    assert s3.calls == [("read", "s3://conf/site.yaml", None, None, True)]


def test_the_dataroot_variable_alone_is_enough(dataroot):
    env = {"CXG_DATAROOT": str(dataroot)}
    config, key = prepare(env)
    assert config.multi_dataset.dataroot == str(dataroot)
    assert key is None
    assert "CXG_CONFIG_FILE" not in env
    assert "CXG_SECRET_KEY" not in env


def test_the_dataroot_variable_overrides_the_configuration(baked, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    env = {"CXG_DATAROOT": str(other)}
    config, _ = prepare(env, baked)
    assert config.multi_dataset.dataroot == str(other)
    assert env["CXG_DATAROOT"] == str(other)


def test_a_container_listens_on_every_address_unless_told_otherwise(dataroot):
    assert prepare({"CXG_DATAROOT": str(dataroot)})[0].server.host == "0.0.0.0"
    assert prepare({"CXG_DATAROOT": str(dataroot), "CXG_HOST": "127.0.0.1"})[0].server.host == "127.0.0.1"


def test_one_dataset_alone_can_be_served(dataroot):
    env = {"CXG_DATAPATH": str(dataroot)}
    config, _ = prepare(env)
    assert config.single_dataset.datapath == str(dataroot)
    assert "CXG_DATAROOT" not in env


# ---- step 2: secret key


def test_the_secret_is_handed_on_and_its_name_is_not(dataroot, monkeypatch, capsys):
    key = "0123456789abcdef0123456789abcdef"
    monkeypatch.setattr(entrypoint, "find_secret_key", lambda config, env, uri: entrypoint.SecretKey(key, "the vault"))
    env = {"CXG_DATAROOT": str(dataroot), "CXG_AWS_SECRET_NAME": "site"}
    prepare(env)
    assert env["CXG_SECRET_KEY"] == key
    assert "CXG_AWS_SECRET_NAME" not in env
    printed = capsys.readouterr()
    assert "secret key: the vault" in printed.err
    assert key not in printed.err + printed.out


def test_a_weak_secret_is_warned_of_and_not_printed(dataroot, capsys):
    prepare({"CXG_DATAROOT": str(dataroot), "CXG_SECRET_KEY": "hunter2"})
    printed = capsys.readouterr().err
    assert "warning: the secret key from CXG_SECRET_KEY is too easy to guess" in printed
    assert "hunter2" not in printed


def test_the_secret_comes_before_the_mount(dataroot, monkeypatch):
    def fails(config, env, uri):
        raise ConfigError("CXG_AWS_SECRET_NAME site: access is denied.")

    monkeypatch.setattr(entrypoint, "find_secret_key", fails)
    monkeypatch.setattr(mounts, "ensure_mounted", lambda *args, **kwargs: pytest.fail("mounted too early"))
    with pytest.raises(ConfigError, match="CXG_AWS_SECRET_NAME site"):
        prepare({"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh", "CXG_AWS_SECRET_NAME": "site"})


# ---- step 3: mount


def test_a_lustre_dataroot_is_mounted_then_checked_and_served_as_a_path(dataroot, monkeypatch):
    asked = []

    def mount(wanted, point, options, env):
        asked.append((wanted.source, point))
        return str(dataroot)

    monkeypatch.setattr(mounts, "ensure_mounted", mount)
    env = {"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh/atlas"}
    prepare(env)
    assert asked == [("fs@tcp:/abcdefgh", "/mnt/cxg")]
    assert env["CXG_DATAROOT"] == str(dataroot)
    env = {"CXG_DATAROOT": "lustre://fs@tcp:/abcdefgh", "CXG_MOUNT_POINT": "/data"}
    prepare(env)
    assert asked[-1] == ("fs@tcp:/abcdefgh", "/data")


def test_a_mounted_bucket_gets_the_region_endpoint_and_signing_of_the_configuration(
    s3, dataroot, monkeypatch, tmp_path
):
    options = []
    monkeypatch.setattr(mounts, "ensure_mounted", lambda wanted, point, how, env: options.append(how) or str(dataroot))
    s3.regions["data"] = "eu-west-1"
    prepare({"CXG_DATAROOT": "s3://data/p", "CXG_S3_MOUNT": "1"})
    path = tmp_path / "config.yaml"
    path.write_text("data_locator: {s3: {endpoint_url: 'http://minio:9000', no_sign_request: true, region_name: r1}}\n")
    prepare({"CXG_DATAROOT": "s3://data/p", "CXG_S3_MOUNT": "1", "CXG_CONFIG_FILE": str(path)})
    assert options == [mounts.S3Options("eu-west-1"), mounts.S3Options("r1", "http://minio:9000", True)]
    # What is served is a folder, so S3 is not listed; its credentials are for the client that mounts it.
    assert s3.calls == [("credentials", "CXG_DATAROOT s3://data/p")]


def test_a_mount_point_with_a_slash_at_its_end_is_looked_at(s3, dataroot, monkeypatch):
    """What the host has mounted there needs no credentials in the container."""
    found = (mounts.Mounted("/data/cxg", "/", "fuse", "mountpoint-s3"),)
    monkeypatch.setattr(mounts, "read_mounts", lambda: found)
    monkeypatch.setattr(mounts, "ensure_mounted", lambda *_: str(dataroot))
    s3.credentials = None
    prepare({"CXG_DATAROOT": "s3://data/p", "CXG_S3_MOUNT": "1", "CXG_MOUNT_POINT": "/data/cxg/"})
    assert s3.calls == []


# ---- step 4: checks


def test_an_s3_dataroot_is_listed_and_its_region_settled(s3):
    s3.regions["data"] = "eu-central-1"
    env = {"CXG_DATAROOT": "s3://data/p", "AWS_REGION": "us-east-1"}
    prepare(env)
    assert s3.calls == [
        ("credentials", "CXG_DATAROOT s3://data/p"),
        ("list", "s3://data/p", "eu-central-1", None, False),
    ]
    assert env["AWS_REGION"] == "eu-central-1"
    assert env["CXG_DATAROOT"] == "s3://data/p"


def test_a_public_bucket_needs_no_credentials(s3, tmp_path):
    s3.credentials = None
    path = tmp_path / "config.yaml"
    path.write_text("{multi_dataset: {dataroot: 's3://data/p'}, data_locator: {s3: {no_sign_request: true}}}\n")
    prepare({"CXG_CONFIG_FILE": str(path)})
    assert s3.calls == [("list", "s3://data/p", None, None, True)]


def test_missing_credentials_stop_the_start_before_the_listing(s3):
    s3.credentials = None
    with pytest.raises(ConfigError, match="no credentials"):
        prepare({"CXG_DATAROOT": "s3://data/p"})
    assert s3.calls == [("credentials", "CXG_DATAROOT s3://data/p")]


def test_an_empty_bucket_is_no_fault(s3, capsys):
    s3.filled = False
    prepare({"CXG_DATAROOT": "s3://data/p"})
    assert "warning: CXG_DATAROOT s3://data/p holds nothing yet" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ConfigError, StorageUnavailable])
def test_a_refused_listing_names_the_setting(s3, error, tmp_path):
    s3.filled = error("s3://data/p: access is denied.")
    with pytest.raises(error, match=r"^CXG_DATAROOT s3://data/p: access is denied"):
        prepare({"CXG_DATAROOT": "s3://data/p"})
    path = tmp_path / "config.yaml"
    path.write_text("multi_dataset: {dataroot: 's3://data/p'}\n")
    with pytest.raises(error, match=r"^multi_dataset.dataroot s3://data/p: access is denied"):
        prepare({"CXG_CONFIG_FILE": str(path)})


def test_a_wrong_region_in_the_configuration_is_told_with_the_right_one(s3, tmp_path):
    s3.regions["data"] = "eu-central-1"
    path = tmp_path / "config.yaml"
    path.write_text("{multi_dataset: {dataroot: 's3://data/p'}, data_locator: {s3: {region_name: us-east-1}}}\n")
    with pytest.raises(ConfigError, match=r"data_locator.s3.region_name is us-east-1, but .* is in eu-central-1"):
        prepare({"CXG_CONFIG_FILE": str(path)})


def test_s3_settings_of_tiledb_itself_are_left_alone(s3, tmp_path, capsys):
    path = tmp_path / "config.yaml"
    path.write_text(
        "multi_dataset: {dataroot: 's3://data/p'}\n"
        "adaptor: {cxg_adaptor: {tiledb_ctx: {vfs.s3.endpoint_override: 'minio:9000'}}}\n"
    )
    prepare({"CXG_CONFIG_FILE": str(path)})
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
    monkeypatch.setattr(entrypoint, "BAKED_CONFIG", NOT_BAKED)
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
        entrypoint.main()
    program, command, env = caught.value.args
    assert program == command[0]
    text = " ".join(command)
    assert "--bind 127.0.0.1:5123" in text
    assert "--workers 3" in text
    assert "--threads 2" in text
    assert env["CXG_DATAROOT"] == str(dataroot)
    assert env["CXG_WORKERS"] == "3"
    assert "workers x threads" in capsys.readouterr().err


def test_a_fault_of_our_own_is_one_line_too(monkeypatch, capsys):
    def fails(env):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(entrypoint, "prepare", fails)
    with pytest.raises(SystemExit) as caught:
        entrypoint.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "cellxgene-eb: error: RuntimeError: two lines; please report this.\n"


def test_every_problem_of_a_configuration_is_told(tmp_path, monkeypatch, capsys):
    path = tmp_path / "config.yaml"
    path.write_text("server: {prot: 1}\ndifexp: {}\n")
    monkeypatch.setattr(entrypoint, "BAKED_CONFIG", path)
    monkeypatch.setattr(entrypoint, "prepare", lambda env: REAL_PREPARE({}, path))
    with pytest.raises(SystemExit):
        entrypoint.main()
    lines = capsys.readouterr().err.splitlines()
    assert any("prot" in line for line in lines)
    assert any("difexp" in line for line in lines)
    assert all(line.startswith("cellxgene-eb: error: ") for line in lines)


REAL_PREPARE = entrypoint.prepare
