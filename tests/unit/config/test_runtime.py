"""The environment, read once."""

from __future__ import annotations

import pytest

from cxg.config import ENVIRONMENT, load
from cxg.config.runtime import AwsEnvironment, Runtime
from cxg.errors import ConfigError
from cxg.memory import plan


@pytest.mark.parametrize("variable", ENVIRONMENT, ids=lambda variable: variable.name)
def test_every_variable_is_in_the_value(variable) -> None:
    """A variable that is described is read, and an empty one is as none."""
    given = Runtime.of({variable.name: "7"})
    assert given != Runtime()
    assert Runtime.of({variable.name: ""}) == Runtime()


def test_a_variable_of_a_key_wins_over_the_file() -> None:
    runtime = Runtime.of({"CXG_PORT": "5010", "CXG_WORKERS": "3", "PATH": "/bin"})
    assert dict(runtime.overrides) == {"CXG_PORT": "5010"}
    assert load("server: {port: 1}", runtime.overrides).config.server.port == 5010


def test_a_wrong_number_stops_those_who_need_it_alone() -> None:
    runtime = Runtime.of({"CXG_CACHE_MB": "lots", "CXG_MEMORY_MB": "4096", "CXG_WORKERS": "2"})
    assert plan(runtime).workers == 2
    with pytest.raises(ConfigError, match="CXG_CACHE_MB is 'lots'"):
        _ = runtime.cache_mb


def test_a_secret_does_not_show() -> None:
    assert "hush" not in repr(Runtime.of({"CXG_SECRET_KEY": "hush"}))


def test_the_region_that_is_found_takes_the_place_of_the_variable() -> None:
    runtime = Runtime.of({"AWS_DEFAULT_REGION": "eu-west-1", "CXG_MEMORY_MB": "512"})
    assert runtime.aws == AwsEnvironment(region="eu-west-1")
    assert runtime.in_region(None) is runtime
    moved = runtime.in_region("eu-west-2")
    assert (moved.aws.region, moved.memory_mb, runtime.aws.region) == ("eu-west-2", 512, "eu-west-1")
