"""Names, tags and the stream of a push; the push itself is an integration test."""

import pytest

from assembly.errors import AssemblyError
from assembly.push import Target, parse_target, read_push_stream

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "image, tag, expected",
    [
        ("registry.example.org/name", "t", Target("registry.example.org", "name", "t")),
        ("registry.example.org/a/b:own", "t", Target("registry.example.org", "a/b", "own")),
        ("localhost:5000/name:own", "", Target("localhost:5000", "name", "own")),
        ("localhost/name", "t", Target("localhost", "name", "t")),
    ],
)
def test_image_names_are_taken_apart(image, tag, expected):
    assert parse_target(image, tag) == expected
    assert expected.reference == f"{expected.host}/{expected.repository}:{expected.tag}"


@pytest.mark.parametrize(
    "image, tag, message",
    [
        ("name", "t", "names no registry"),
        ("name:tag", "t", "names no registry"),
        ("user/name", "t", "names no registry"),
        ("registry.example.org/", "t", "names no registry"),
        ("registry.example.org/name", "", "is not a valid tag"),
        ("registry.example.org/name", "a b", "a b is not a valid tag"),
    ],
)
def test_other_names_are_refused(image, tag, message):
    with pytest.raises(AssemblyError, match=message):
        parse_target(image, tag)


def test_a_push_ends_with_the_digest():
    said = []
    stream = [
        {"status": "The push refers to repository [r/n]"},
        {"status": "Preparing", "id": "abc"},
        {"status": "Pushing", "id": "abc", "progressDetail": {"current": 1}},
        {"status": "Pushed", "id": "abc"},
        {"status": "Layer already exists", "id": "def"},
        {"progressDetail": {}, "aux": {"Tag": "t", "Digest": DIGEST, "Size": 1}},
    ]
    assert read_push_stream(stream, "r/n:t", said.append) == DIGEST
    assert said == ["push: abc pushed", "push: def layer already exists"]


@pytest.mark.parametrize(
    "stream, message",
    [
        (
            [{"errorDetail": {"message": "x"}, "error": "unauthorized: authentication required"}],
            "check the credentials",
        ),
        ([{"error": "denied: requested access\nto the resource"}], "requested access to the resource; check the cred"),
        ([{"status": "Pushed"}, {"error": "received unexpected HTTP status: 500"}], "push again"),
        ([{"aux": {"Digest": DIGEST}}, {"error": "tag invalid: immutable"}], "tag invalid: immutable"),
        ([{"status": "Pushed", "id": "abc"}], "gave no digest"),
        ([], "gave no digest"),
    ],
)
def test_a_failed_push_fails(stream, message):
    with pytest.raises(AssemblyError, match=f"^r/n:t was not pushed: .*{message}"):
        read_push_stream(stream, "r/n:t", lambda line: None)
