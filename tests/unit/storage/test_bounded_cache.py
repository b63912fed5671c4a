"""What open datasets keep in memory: bounded, and never taken from somebody who uses it."""

from __future__ import annotations

import weakref

from cxg.storage.bounded_cache import BoundedCache


class Thing:
    """Something that ends when nobody holds it."""


def test_the_least_recently_used_makes_room() -> None:
    kept, made = BoundedCache(100), []

    def use(what: str) -> None:
        kept.find_or_make("owner", what, lambda: made.append(what), 40)

    for what in ("a", "b", "a", "c", "a", "c", "b"):
        use(what)
    assert made == ["a", "b", "c", "b"]
    assert kept.used_bytes == 80


def test_what_made_room_ends_with_its_last_user() -> None:
    kept = BoundedCache(100)
    used = kept.find_or_make("owner", 1, Thing, 80)
    ended = weakref.ref(used)
    kept.find_or_make("owner", 2, Thing, 80)
    assert kept.owned("owner") == [2]
    assert ended() is used
    del used
    assert ended() is None


def test_one_that_is_larger_than_the_budget_is_kept_alone() -> None:
    kept = BoundedCache(100)
    kept.find_or_make("owner", "small", Thing, 10)
    large = kept.find_or_make("owner", "large", Thing, lambda _: 1000)
    assert kept.find_or_make("owner", "large", Thing, lambda _: 1000) is large
    assert kept.owned("owner") == ["large"]
    assert kept.used_bytes <= 100


def test_owners_are_apart() -> None:
    kept, one, other = BoundedCache(100), object(), object()
    first = kept.find_or_make(one, "x", Thing, 10)
    second = kept.find_or_make(other, "x", Thing, 10)
    kept.find_or_make(other, "y", Thing, 10)
    assert first is not second
    kept.drop(other, "y", "never there")
    assert kept.owned(other) == ["x"]
    kept.drop(other)
    assert kept.owned(other) == []
    assert kept.find_or_make(one, "x", Thing, 10) is first


def test_what_cannot_be_made_is_not_kept() -> None:
    kept = BoundedCache(100)
    for _ in range(2):
        try:
            kept.find_or_make("owner", "x", lambda: 1 // 0, 10)
        except ZeroDivisionError:
            continue
        raise AssertionError("the error must reach whoever asks")
    assert kept.used_bytes == 0
