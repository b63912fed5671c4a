"""The answer cache: bounded in bytes, filled once, equal in every encoding."""

from __future__ import annotations

import gzip
import random
import threading

import pytest

from cxg.web.answers.cache import GZIP, IDENTITY, Answer, AnswerCache, Key, accepts, matches, negotiate

BODY = b"0123456789" * 1000
TYPE = "application/octet-stream"


def key(name: str, encoding: str = IDENTITY) -> Key:
    return ("fingerprint", f"/{name}", "", encoding)


def cache(budget: int = 1 << 20) -> AnswerCache:
    return AnswerCache(budget, "version", "public, no-cache")


def test_an_answer_is_made_once() -> None:
    made: list[int] = []
    answers = cache()

    def make() -> Answer:
        made.append(1)
        return Answer(BODY, TYPE)

    assert answers.find_or_make(key("a"), make).body == BODY
    assert answers.find_or_make(key("a"), make).body == BODY
    assert len(made) == 1


def test_only_one_of_many_threads_makes_an_answer() -> None:
    made: list[int] = []
    answers = cache()
    go = threading.Event()

    def make() -> Answer:
        made.append(1)
        assert go.wait(30)
        return Answer(BODY, TYPE)

    threads = [threading.Thread(target=answers.find_or_make, args=(key("a"), make)) for _ in range(6)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1


def test_a_failure_is_raised_and_forgotten() -> None:
    answers = cache()

    def fail() -> Answer:
        raise RuntimeError("away")

    with pytest.raises(RuntimeError):
        answers.find_or_make(key("a"), fail)
    assert answers.find_or_make(key("a"), lambda: Answer(BODY, TYPE)).body == BODY


def test_compressed_and_plain_hold_the_same_bytes_under_different_tags() -> None:
    answers = cache()
    packed = answers.find_or_make(key("a", GZIP), lambda: Answer(BODY, TYPE))
    assert gzip.decompress(packed.body) == BODY
    assert dict(packed.headers)["Content-Encoding"] == "gzip"
    plain = answers.find_or_make(key("a"), lambda: pytest.fail("the compressed form is unpacked, not made again"))
    assert plain.body == BODY
    assert "Content-Encoding" not in dict(plain.headers)
    assert plain.etag != packed.etag


@pytest.mark.parametrize(
    "answer",
    [Answer(b"short", TYPE), Answer(random.Random(0).randbytes(5000), TYPE), Answer(BODY, "font/woff")],
    ids=["short", "random", "compressed type"],
)
def test_an_answer_that_does_not_shrink_is_sent_uncompressed(answer: Answer) -> None:
    stored = cache().find_or_make(key("a", GZIP), lambda: answer)
    assert stored.body == answer.body
    assert "Content-Encoding" not in dict(stored.headers)


def test_the_budget_holds_under_threads() -> None:
    answers = cache(200_000)
    most = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(200):
            size = rng.randrange(20_000)
            answers.find_or_make(key(str(rng.randrange(60))), lambda size=size: Answer(bytes(size), TYPE))
            most.append(answers.used_bytes)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Between adding and dropping, a thread may be seen with one answer too many.
    assert max(most) <= 200_000 + 4 * 21_000
    urls = [key(str(number)) for number in range(60)]
    found = [(url, answers.find(url)) for url in urls]
    used = sum(len(stored.body) + len(url[1]) + len(url[2]) + 700 for url, stored in found if stored is not None)
    assert answers.used_bytes == used <= 200_000


def test_an_answer_larger_than_half_the_budget_is_not_kept() -> None:
    answers = cache(10_000)
    assert answers.find_or_make(key("a"), lambda: Answer(bytes(9000), TYPE)).body == bytes(9000)
    assert answers.find(key("a")) is None


def test_the_tag_depends_on_dataset_release_and_url() -> None:
    tags = {
        AnswerCache(1 << 20, version, "")
        .find_or_make((fingerprint, path, query, IDENTITY), lambda: Answer(b"x", TYPE))
        .etag
        for version in "ab"
        for fingerprint in "cd"
        for path in "ef"
        for query in "gh"
    }
    assert len(tags) == 16


@pytest.mark.parametrize(
    "header, encoding",
    [
        ("", IDENTITY),
        ("gzip", GZIP),
        ("gzip, deflate, br, zstd", GZIP),
        ("GZIP;q=0.5", GZIP),
        ("gzip;q=0", IDENTITY),
        ("identity", IDENTITY),
        ("*", GZIP),
        ("*;q=0", IDENTITY),
        ("br", IDENTITY),
    ],
)
def test_negotiation(header: str, encoding: str) -> None:
    assert negotiate(header) == encoding


@pytest.mark.parametrize(
    "header, allowed",
    [
        (None, True),
        ("", True),
        ("*/*", True),
        ("application/*", True),
        (TYPE, True),
        ("text/html", False),
        (f"{TYPE};q=0", False),
    ],
)
def test_accept(header: str | None, allowed: bool) -> None:
    assert accepts(header, TYPE) is allowed


@pytest.mark.parametrize(
    "header, unchanged",
    [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False)],
)
def test_if_none_match(header: str, unchanged: bool) -> None:
    assert matches(header, '"a"') is unchanged
