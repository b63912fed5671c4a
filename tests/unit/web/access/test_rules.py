"""The rule of a dataset stays closed whatever happens to its description."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cxg.access import NOBODY, PUBLIC, SIGNED_IN, Rule
from cxg.config import Access, default
from cxg.datasets.dataroot import Dataroot
from cxg.descriptions.store import Descriptions, LookTimes
from cxg.errors import StorageUnavailable
from cxg.storage.beside import Folder
from cxg.storage.storage import Storage
from cxg.web.access.rules import Rules

LAB = Rule(("lab-a",))
USED = Access(visible_to=(SIGNED_IN,))
RESTRICTED = "visible_to: [lab-a]\n"
# What may become of a description that restricts its dataset.
DAMAGED = {
    "half written": "visible_to: [lab",
    "emptied": "",
    "blank": " \n",
    "no YAML": "title: a: b\n",
    "not keys": "lab-a\n",
    "control character": "title: \x07\n",
    "too long": "#" * 70_000,
}
# Files that mean to restrict the dataset but do not say clearly to whom: nobody sees it.
FAULTY = (
    *(
        "visible_to:\n",
        "visible_to: lab-a\n",
        "visible_to: {a: b}\n",
        "visible_to: [everyone]\n",
        "visible_to: [[a]]\n",
    ),
    *("visible_to: [a, '']\n", "visible_too: [a]\n", "Visible_To: [a]\n", "visible-to: [a]\n", "visible to: [a]\n"),
    *("visible_to: [a]\nvisible_to: everyone\n", "<<: {visible_to: [a]}\n", "title: a: b\nvisible_to: [a]\n"),
    *(
        "public_from: 2020-01-01\n",
        "public_from: soon\n",
        "public_from: 2020-13-01 UTC\n",
        "public_form: 2099-01-01 UTC\n",
    ),
    *("visible_to: everyone\npublic_from:\n", "? [visible_to]\n: [a]\n", "visible_to: everyon\n", "visible_to: true\n"),
)


class Site:
    """A dataroot with one description, whose clock stands still."""

    def __init__(self, root: Path, access: Access) -> None:
        self.time, self.file = SimpleNamespace(now=0.0), root / "a.yaml"
        storage = Storage(default())
        times = LookTimes(clock=lambda: self.time.now)
        descriptions = Descriptions(storage, Dataroot(storage, str(root)), times)
        self.rules = Rules(access, descriptions, clock=lambda: self.time.now)

    def rule(self, text: str | None = None, later_s: float = 20.0) -> Rule:
        if text is not None:
            self.file.write_text(text)
        self.time.now += later_s
        return self.rules.of("a.cxg")


@pytest.mark.parametrize("text", FAULTY)
def test_a_faulty_key_hides_the_dataset(tmp_path: Path, text: str) -> None:
    assert Site(tmp_path, Access()).rule(text) == NOBODY


@pytest.mark.parametrize("access", [Access(), USED], ids=["public site", "closed site"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_description_opens_nothing(tmp_path: Path, damage: str, access: Access) -> None:
    site = Site(tmp_path, access)
    assert site.rule(RESTRICTED) == LAB
    assert site.rule(DAMAGED[damage]) in (LAB, NOBODY)
    assert site.rule("title: Public\nvisible_to: everyone\n") == PUBLIC


@pytest.mark.parametrize("damage", DAMAGED)
def test_on_a_closed_site_a_damaged_description_is_for_nobody(tmp_path: Path, damage: str) -> None:
    assert Site(tmp_path, USED).rule(DAMAGED[damage]) == NOBODY


@pytest.mark.parametrize("access", [Access(), USED], ids=["public site", "closed site"])
def test_a_link_out_of_the_folder_opens_nothing(tmp_path: Path, access: Access) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "b.yaml"
    root.mkdir()
    elsewhere.write_text("visible_to: everyone\n")
    site = Site(root, access)
    assert site.rule(RESTRICTED) == LAB
    site.file.unlink()
    site.file.symlink_to(elsewhere)
    assert site.rule() == LAB
    assert Site(root, USED).rule() == NOBODY


def test_without_access_keys_a_damaged_description_changes_nothing(tmp_path: Path) -> None:
    assert Site(tmp_path, Access()).rule("title: [\n") == PUBLIC


def test_a_description_may_be_away_while_it_is_replaced(tmp_path: Path) -> None:
    site = Site(tmp_path, Access())
    assert site.rule(RESTRICTED) == LAB
    site.file.unlink()
    assert site.rule() == LAB
    assert site.rule(later_s=29.0) == LAB
    assert site.rule() == PUBLIC


def test_nothing_opens_while_the_store_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StorageUnavailable("away")

    (tmp_path / "a.yaml").write_text(RESTRICTED)
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "list_files", fail)
        with pytest.raises(StorageUnavailable):
            Site(tmp_path, Access()).rule()
        assert Site(tmp_path, USED).rule() == NOBODY
    monkeypatch.setattr(Folder, "read", fail)
    with pytest.raises(StorageUnavailable):
        Site(tmp_path, Access()).rule()
    assert Site(tmp_path, USED).rule() == NOBODY


def test_a_description_wins_over_the_site(tmp_path: Path) -> None:
    site = Site(tmp_path, USED)
    assert site.rule("title: A\n") == Rule((SIGNED_IN,))
    assert site.rule("visible_to: everyone\n") == PUBLIC
    assert site.rule(RESTRICTED) == LAB
