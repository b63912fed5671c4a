"""What `docker compose up` puts into the bucket, and what may not keep the server from starting."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from assembly import seed

NAMES = tuple(seed.SAMPLES)
Start = Callable[..., tuple[int, list[list[str]]]]


class Store:
    """A bucket with these keys."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def create_bucket(self, Bucket: str) -> None:
        assert Bucket == "datasets"

    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, Any]:
        assert Bucket == "datasets"
        found = [key for key in self.keys if key.startswith(Prefix)][:MaxKeys]
        return {"KeyCount": len(found)}


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run the seed on a bucket; its exit code and the commands it ran, whose codes are `convert` and `doctor`."""

    def run(*keys: str, convert: int = 0, doctor: int = 0) -> tuple[int, list[list[str]]]:
        commands: list[list[str]] = []

        def call(command: list[str]) -> int:
            commands.append(command)
            return convert if command[1] == "convert" else doctor

        monkeypatch.setenv("CXG_DATAROOT", "s3://datasets/a")
        monkeypatch.setattr(boto3, "client", lambda service: Store(*keys))
        monkeypatch.setattr(subprocess, "call", call)
        return seed.main(), commands

    return run


def schema(name: str) -> str:
    return f"a/{name}/obs/__schema/__1_1_ab"


def test_an_empty_bucket_is_filled(start: Start) -> None:
    code, commands = start()
    assert code == 0
    assert [Path(command[3]).name for command in commands[:-1]] == list(NAMES)
    assert commands[-1] == ["cxg", "doctor"]


def test_what_is_there_stays(start: Start) -> None:
    assert start(*map(schema, NAMES)) == (0, [["cxg", "doctor"]])


def test_what_an_interrupted_upload_left_is_replaced(start: Start) -> None:
    code, commands = start(f"a/{NAMES[0]}/X/__fragments/__1_1_ab_22/a0.tdb", schema(NAMES[1]))
    assert code == 0
    assert [command[3] for command in commands[:-1]] == [f"s3://datasets/a/{NAMES[0]}"]
    assert "--overwrite" in commands[0]


@pytest.mark.parametrize("doctor, code", [(1, 0), (2, 2)])
def test_a_damaged_dataset_does_not_keep_the_server_from_starting(start: Start, doctor: int, code: int) -> None:
    assert start(*map(schema, NAMES), doctor=doctor)[0] == code


def test_a_failed_conversion_is_told(start: Start) -> None:
    code, commands = start(convert=2)
    assert (code, len(commands)) == (2, 1)
