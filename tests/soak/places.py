"""Where a server's datasets and its decoded copies lie, and what is done to them while it runs."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cxg.convert.publish.bucket import stages
from tests.soak.datasets import AT_FIRST, DAMAGES
from tests.soak.schedule import CUT_CACHE, LOOK_ALIKE
from tests.soak.timeline import GONE, Outages, Timeline

if TYPE_CHECKING:
    from tests.integration.minio import Store

# What an operator may keep in the folder that `CXG_CACHE_DIR` names; nothing of it is the server's to touch.
FOREIGN = {
    "partial-thesis/chapter.txt": b"years of work",
    "my-columns/column.txt": b"a column",
    "notes-obs/note.txt": b"a note",
    "s3-backup/list.txt": b"a backup",
    "lock": b"not a lock of yours",
}


class Place(Protocol):
    """Datasets that can be changed."""

    def put(self, version: str, name: str) -> None:
        """Put a version in place under a name, whole at a time where that is possible."""

    def rewrite(self, version: str, name: str) -> None:
        """Take a dataset down and put a version in its place, file by file."""

    def damage(self, version: str, name: str) -> None:
        """Make a damaged version of a good dataset, in place."""

    def remove(self, name: str) -> None:
        """Remove a dataset."""


class Folder:
    """A dataroot on a file system; `versions` holds what is put into it."""

    def __init__(self, versions: Path, dataroot: Path) -> None:
        self._versions, self._dataroot = versions, dataroot
        dataroot.mkdir(parents=True)

    def put(self, version: str, name: str) -> None:
        target = self._dataroot / name
        beside, away = target.with_name(f".incoming-{name}"), target.with_name(f".outgoing-{name}")
        # Times too: a copy of a dataset that was altered in place has the same.
        shutil.copytree(self._versions / f"{version}.cxg", beside)
        if target.exists():
            target.rename(away)
        beside.rename(target)
        shutil.rmtree(away, ignore_errors=True)

    def rewrite(self, version: str, name: str) -> None:
        source, target = self._versions / f"{version}.cxg", self._dataroot / name
        for stage in reversed(stages(_files(target))):
            for file in stage:
                (target / file).unlink()
        shutil.rmtree(target)
        for stage in stages(_files(source)):
            for file in stage:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / file, target / file)

    def damage(self, version: str, name: str) -> None:
        DAMAGES[version](self._dataroot / name)

    def remove(self, name: str) -> None:
        shutil.rmtree(self._dataroot / name)


class Bucket:
    """A dataroot on S3: objects below `prefix` of a bucket, written in the order in which `cxg convert` does."""

    def __init__(self, store: Store, versions: Path, bucket: str, prefix: str) -> None:
        self._versions, self._bucket, self._prefix = versions, bucket, prefix
        self._client = store.client()
        self._client.create_bucket(Bucket=bucket)

    def put(self, version: str, name: str) -> None:
        self.remove(name)
        source = self._versions / f"{version}.cxg"
        for stage in stages(_files(source)):
            for file in stage:
                self._send(source, file, name)

    def rewrite(self, version: str, name: str) -> None:
        self.put(version, name)

    def damage(self, version: str, name: str) -> None:
        source, good = (self._versions / f"{one}.cxg" for one in (version, AT_FIRST[name]))
        for file in _files(good):
            damaged = source / file
            if not damaged.exists():
                self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}/{file}")
            elif damaged.stat().st_size != (good / file).stat().st_size:
                self._send(source, file, name)

    def remove(self, name: str) -> None:
        prefix = f"{self._prefix}/{name}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        files = [item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ())]
        for stage in reversed(stages(files)):
            for file in stage:
                self._client.delete_object(Bucket=self._bucket, Key=prefix + file)

    def _send(self, source: Path, file: str, name: str) -> None:
        key, body = f"{self._prefix}/{name}/{file}", (source / file).read_bytes()
        self._client.put_object(Bucket=self._bucket, Key=key, Body=body)


def _files(dataset: Path) -> list[str]:
    return [path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()]


class Disturbed:
    """The datasets of one server, and what is known of when they changed.

    Parameters
    ----------
    place : Place
        Empty at first.
    cache : Path
        What `CXG_CACHE_DIR` names.
    """

    def __init__(self, place: Place, cache: Path) -> None:
        self._place, self.cache = place, cache
        self.outages = Outages()
        self.timelines: dict[str, Timeline] = {}
        self._damages = ["damaged.cut", "damaged.no-umap", "damaged.no-obs"]

    def prepare(self, names: tuple[str, ...]) -> None:
        """Put the first versions in place, and the operator's own files into the cache folder."""
        for name in names:
            version = AT_FIRST.get(name, GONE)
            self.timelines[name] = Timeline(version, self.outages)
            if version != GONE:
                self._place.put(version, name)
        for path, content in FOREIGN.items():
            target = self.cache / path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            target.write_bytes(content)

    def change(self, kind: str) -> str:
        """Do one of `tests.soak.schedule.CHANGES`; gives one line that says what was done."""
        name, version, act = self._wanted(kind)
        timeline = self.timelines[name]
        before = timeline.version
        timeline.begin(version, time.monotonic())
        try:
            act()
        finally:
            timeline.end(time.monotonic())
        return f"{name}: {before or 'nothing'} -> {version or 'nothing'}"

    def _wanted(self, kind: str) -> tuple[str, str, Callable[[], None]]:
        place = self._place
        if kind == LOOK_ALIKE:
            return "twin.cxg", "twin.1", lambda: place.put("twin.1", "twin.cxg")
        if kind == "add":
            return "coming.cxg", "coming.1", lambda: place.put("coming.1", "coming.cxg")
        if kind == "remove":
            return "coming.cxg", GONE, lambda: place.remove("coming.cxg")
        if kind == "repair":
            return "damaged.cxg", "damaged.1", lambda: place.put("damaged.1", "damaged.cxg")
        if kind == "damage":
            self._damages.append(version := self._damages.pop(0))
            return "damaged.cxg", version, lambda: place.damage(version, "damaged.cxg")
        name = {"swap": "swapped.cxg", "rewrite": "rewritten.cxg"}[kind]
        first, second = (name.replace("cxg", number) for number in "12")
        version = second if self.timelines[name].version == first else first
        return name, version, lambda: (place.put if kind == "swap" else place.rewrite)(version, name)

    def corrupt(self, kind: str, seed: int) -> str:
        """Corrupt every file that the server keeps in its cache folder; gives one line that says what was done."""
        rng, files = random.Random(seed), self.cache_files()
        ways = (_cut, _empty, _zero, _remove) if kind == CUT_CACHE else (_flip, _zero)
        for number, file in enumerate(files):
            ways[number % len(ways)](file, rng)
        return f"{len(files)} files"

    def cache_files(self) -> list[Path]:
        """Files of the server in its cache folder; not those of the operator."""
        found = (path for path in sorted(self.cache.rglob("*")) if path.is_file())
        return [path for path in found if path.relative_to(self.cache).as_posix() not in FOREIGN]

    def spoiled(self) -> list[str]:
        """The operator's own files in the cache folder that are gone or no longer what they were."""
        return [path for path, content in FOREIGN.items() if not _holds(self.cache / path, content)]


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _quietly(act: Callable[[Path, random.Random], None]) -> Callable[[Path, random.Random], None]:
    """The same; a file that the server removes meanwhile is left alone."""

    def corrupt(file: Path, rng: random.Random) -> None:
        try:
            act(file, rng)
        except OSError:
            return

    return corrupt


@_quietly
def _cut(file: Path, _: random.Random) -> None:
    with file.open("r+b") as data:
        data.truncate(file.stat().st_size // 2)


@_quietly
def _empty(file: Path, _: random.Random) -> None:
    with file.open("r+b") as data:
        data.truncate(0)


@_quietly
def _zero(file: Path, _: random.Random) -> None:
    size = file.stat().st_size
    with file.open("r+b") as data:
        data.seek(size // 2)
        data.write(bytes(size - size // 2))


@_quietly
def _flip(file: Path, rng: random.Random) -> None:
    size = file.stat().st_size
    with file.open("r+b") as data:
        for _ in range(8 if size else 0):
            where = rng.randrange(size)
            data.seek(where)
            byte = data.read(1)
            data.seek(where)
            data.write(bytes([byte[0] ^ 1 << rng.randrange(8)]))


@_quietly
def _remove(file: Path, _: random.Random) -> None:
    file.unlink()
