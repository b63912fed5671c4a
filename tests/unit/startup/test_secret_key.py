"""Where the secret key comes from, in which order, and that it never shows."""

import json

import pytest

from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.startup import secret_key
from cxg.startup.secret_key import SecretKey, secret_region
from tests.fake_aws import FakeAws, access

STRONG = "6b1f0a9cd8e24735a1f7c90b3d5e8246"
IN_CONFIG = "server: {flask_secret_key: from-the-configuration-file}\n"


def config(text="", **env):
    return load(text, env).config


def find_secret_key(config, env, aws=None):
    return secret_key.find_secret_key(config, Runtime.of(env), access(aws or FakeAws(), config))


def test_secrets_manager_wins_over_the_variable_and_the_configuration():
    env = {"CXG_AWS_SECRET_NAME": "site", "CXG_AWS_SECRET_REGION_NAME": "eu-west-1", "CXG_SECRET_KEY": "variable"}
    text = json.dumps({"flask_secret_key": STRONG, "other": "x"})
    found = find_secret_key(config(IN_CONFIG), env, aws := FakeAws(secrets={"site": text}))
    assert found == SecretKey(STRONG, "AWS Secrets Manager (site, eu-west-1)")
    assert aws.calls == [("secret", "site", "eu-west-1")]


def test_the_variable_wins_over_the_configuration():
    assert find_secret_key(config(IN_CONFIG), {"CXG_SECRET_KEY": STRONG}) == SecretKey(STRONG, "CXG_SECRET_KEY")


def test_the_configuration_is_the_last_source():
    found = find_secret_key(config(IN_CONFIG), {})
    assert found == SecretKey("from-the-configuration-file", "server.flask_secret_key")


def test_no_source_gives_no_key_and_none_is_made_up():
    assert find_secret_key(config(), {}) is None
    assert find_secret_key(config(), {"CXG_SECRET_KEY": ""}) is None


@pytest.mark.parametrize(
    "env, text, config_uri, expected",
    [
        (
            {"CXG_AWS_SECRET_REGION_NAME": "eu-west-3"},
            "multi_dataset: {dataroot: 's3://data/x'}",
            "s3://conf/c.yaml",
            "eu-west-3",
        ),
        ({}, "multi_dataset: {dataroot: 's3://data/x'}", "s3://conf/c.yaml", "eu-central-1"),
        ({}, "single_dataset: {datapath: 's3://data/x.cxg'}", "s3://conf/c.yaml", "eu-central-1"),
        ({}, "multi_dataset: {dataroot: 's3://unknown/x'}", "s3://conf/c.yaml", "sa-east-1"),
        ({}, "multi_dataset: {dataroot: /data}", "s3://conf/c.yaml", "sa-east-1"),
        (
            {},
            "{multi_dataset: {dataroot: 's3://data/x'}, data_locator: {s3: {region_name: us-west-2}}}",
            None,
            "us-west-2",
        ),
        ({"AWS_REGION": "ca-central-1"}, "multi_dataset: {dataroot: /data}", None, "ca-central-1"),
        ({"AWS_DEFAULT_REGION": "ca-west-1"}, "", None, "ca-west-1"),
    ],
)
def test_region_of_the_secret(env, text, config_uri, expected):
    s3 = access(FakeAws({"data": "eu-central-1", "conf": "sa-east-1"}), config(text))
    assert secret_region(config(text), Runtime.of(env), s3, config_uri) == expected


def test_an_unknown_region_names_the_variable_to_set():
    with pytest.raises(ConfigError, match="set CXG_AWS_SECRET_REGION_NAME"):
        find_secret_key(config("multi_dataset: {dataroot: /data}"), {"CXG_AWS_SECRET_NAME": "site"})


@pytest.mark.parametrize(
    "text, message",
    [
        ("hunter2-hunter2", "is not JSON"),
        ('"hunter2-hunter2"', "no text under the key flask_secret_key"),
        ('{"flask_secret_key": ""}', "no text under the key flask_secret_key"),
        ('{"flask_secret_key": 7, "password": "hunter2-hunter2"}', "no text under the key flask_secret_key"),
        ('{"secret_key": "hunter2-hunter2"}', "no text under the key flask_secret_key"),
    ],
)
def test_a_secret_of_another_form_stops_the_start_without_being_shown(text, message):
    env = {"CXG_AWS_SECRET_NAME": "site", "CXG_AWS_SECRET_REGION_NAME": "eu-west-1", "CXG_SECRET_KEY": STRONG}
    with pytest.raises(ConfigError, match=message) as caught:
        find_secret_key(config(), env, FakeAws(secrets={"site": text}))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "CXG_AWS_SECRET_NAME site" in str(caught.value)


def test_the_value_never_shows_in_a_repr():
    assert STRONG not in repr(SecretKey(STRONG, "CXG_SECRET_KEY"))


@pytest.mark.parametrize("value", ["asd", "cellxgene", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "123456789012345"])
def test_weak_keys_are_named_by_source_and_not_shown(value):
    weakness = SecretKey(value, "CXG_SECRET_KEY").weakness
    assert weakness is not None
    assert "CXG_SECRET_KEY" in weakness
    assert value not in weakness.split("python3")[0]


def test_a_strong_key_has_no_weakness():
    assert SecretKey(STRONG, "x").weakness is None
