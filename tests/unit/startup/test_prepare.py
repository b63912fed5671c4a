"""One way to make a deployment ready, which stops at the first fault, or goes on for who wants to know all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxg.config import Config, load
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.startup.prepare import DATA, SECRET, prepare
from cxg.startup.prepared import Data, Prepared
from tests.fake_aws import FakeAws


def deployment(env: dict[str, str]) -> tuple[Config, Runtime]:
    runtime = Runtime.of(env)
    return load("", runtime.overrides).config, runtime


def prepared_as_is(env: dict[str, str], aws: FakeAws, **options: bool | str) -> Prepared:
    return prepare(*deployment(env), aws, lambda data, _: data.uri, **options)  # type: ignore[arg-type]


def test_the_environment_is_not_changed_but_returned(tmp_path: Path) -> None:
    env = {"CXG_DATAROOT": str(tmp_path), "CXG_SECRET_KEY": "k" * 40}
    found = prepared_as_is(dict(env), FakeAws())
    assert (found.path, found.data) == (str(tmp_path), Data(str(tmp_path), "CXG_DATAROOT", "CXG_DATAROOT"))
    assert found.secret is not None
    assert found.secret.source == "CXG_SECRET_KEY"
    assert (found.region, found.warnings, dict(found.failures)) == (None, (), {})


def test_every_failure_is_collected() -> None:
    aws = FakeAws(secrets={"site": ConfigError("no such secret")})
    env = {"CXG_DATAROOT": "s3://data/p", "CXG_AWS_SECRET_NAME": "site", "AWS_REGION": "r1"}
    with pytest.raises(ConfigError, match="no such secret"):
        prepared_as_is(env, aws)
    assert aws.calls == [("secret", "site", "r1")]
    aws.filled = ConfigError("s3://data/p: access is denied.")
    found = prepared_as_is(env, aws, collect=True)
    assert {name: str(error) for name, error in found.failures.items()} == {
        SECRET: "no such secret",
        DATA: "CXG_DATAROOT s3://data/p: access is denied.",
    }


def test_a_deployment_without_data_is_not_located() -> None:
    def locate(*_: object) -> str:
        pytest.fail("there is nothing to locate")

    found = prepare(*deployment({}), FakeAws(), locate, collect=True)
    assert list(found.failures) == [DATA]
    with pytest.raises(ConfigError, match="names no data"):
        prepare(*deployment({}), FakeAws(), locate)


def test_messages_name_what_the_user_typed() -> None:
    aws = FakeAws()
    aws.filled = ConfigError("s3://data/p: access is denied.")
    with pytest.raises(ConfigError, match=r"^cxg launch s3://data/p: access is denied"):
        prepared_as_is({"CXG_DATAROOT": "s3://data/p"}, aws, setting="cxg launch")
