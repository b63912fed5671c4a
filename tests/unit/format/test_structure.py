"""What file names say about an array, for every generation of TileDB's format."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from cxg.format.structure import array_files, arrays_below, has_array
from cxg.storage.listing import Listing, from_pairs

NEW = "__1_1_aa_22"
EIGHT = "__1_1_aa_8"
FOUR = "__aa_1577836800000"


def files(*paths: str, empty: Iterable[str] = ()) -> Listing:
    return from_pairs([*((path, 10) for path in paths), *((path, 0) for path in empty)])


def fragment(name: str, *data: str) -> list[str]:
    return [f"a/__fragments/{name}/{file}" for file in ("__fragment_metadata.tdb", *(data or ("a0.tdb",)))]


SCHEMA = "a/__schema/__1_1_x"
COMMIT = f"a/__commits/{NEW}.wrt"


@pytest.mark.parametrize("listing", [files(SCHEMA), files("a/__array_schema.tdb")])
def test_an_array_has_a_schema(listing: Listing) -> None:
    assert has_array(listing, "a")
    assert not has_array(listing, "b")
    assert not has_array(files("a/__tiledb_group.tdb"), "a")
    assert not has_array(files("ab/__schema/x"), "a")


def test_arrays_of_a_group() -> None:
    listing = files(
        "emb/umap/__schema/x", "emb/pca/__array_schema.tdb", "emb/folder/file", "emb/note", "obs/__schema/x"
    )
    assert arrays_below(listing, "emb") == ("pca", "umap")


GOOD = {
    "commit file": (files(SCHEMA, COMMIT, *fragment(NEW)), (NEW,)),
    "consolidated commits": (files(SCHEMA, "a/__commits/__1_1_x_22.con", *fragment(NEW)), (NEW,)),
    "ok file, format 8": (
        files("a/__schema/x", f"a/{EIGHT}.ok", f"a/{EIGHT}/__fragment_metadata.tdb", f"a/{EIGHT}/a0.tdb"),
        (EIGHT,),
    ),
    "no mark, format 4": (
        files("a/__array_schema.tdb", f"a/{FOUR}/__fragment_metadata.tdb", f"a/{FOUR}/__attr.tdb"),
        (FOUR,),
    ),
    "a write that was broken off": (
        files(SCHEMA, COMMIT, *fragment(NEW), "a/__fragments/__2_2_bb_22/a0.tdb"),
        (NEW,),
    ),
    "a merge that was not cleaned up": (
        files(SCHEMA, "a/__commits/__1_3_cc_22.wrt", *fragment("__1_3_cc_22"), *fragment("__2_2_bb_22")),
        ("__1_3_cc_22",),
    ),
    "texts that are all empty": (
        files(SCHEMA, COMMIT, *fragment(NEW), empty=[f"a/__fragments/{NEW}/a0_var.tdb"]),
        (NEW,),
    ),
}
BAD = {
    "two generations": (
        files(SCHEMA, COMMIT, "a/__array_schema.tdb", *fragment(NEW)),
        "two versions of the array are mixed",
    ),
    "no commit": (files(SCHEMA, *fragment(NEW)), "commit files are missing"),
    "one commit of two": (
        files(SCHEMA, COMMIT, *fragment(NEW), *fragment("__2_2_bb_22")),
        "commit files of 1 of its 2 fragments are missing",
    ),
    "no schema": (files(COMMIT, *fragment(NEW)), "its schema is missing"),
    "no ok file, format 8": (
        files(SCHEMA, f"a/{EIGHT}/__fragment_metadata.tdb", f"a/{EIGHT}/a0.tdb"),
        "commit files are missing",
    ),
    "never written": (files(SCHEMA), "never written"),
    "no data": (files(SCHEMA, COMMIT, f"a/__fragments/{NEW}/__fragment_metadata.tdb"), "data files are missing"),
    "empty data": (
        files(SCHEMA, COMMIT, *fragment(NEW, "a1.tdb"), empty=[f"a/__fragments/{NEW}/a0.tdb"]),
        "missing or empty",
    ),
    "a needed file is missing": (files(SCHEMA, COMMIT, *fragment(NEW, "a0.tdb", "d0.tdb")), "data files are missing"),
}
NEEDED = frozenset({"a0.tdb", "a1.tdb"})


@pytest.mark.parametrize("case", GOOD)
def test_whole_arrays(case: str) -> None:
    listing, fragments = GOOD[case]
    assert array_files(listing, "a").problem is None
    assert array_files(listing, "a").fragments == fragments


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong(case: str) -> None:
    listing, problem = BAD[case]
    found = array_files(listing, "a", NEEDED if "needed" in case else frozenset()).problem
    assert found is not None
    assert problem in found
    assert found[0].islower()
    assert not found.endswith(".")


def test_files_named_after_attributes_are_not_asked_for_by_number() -> None:
    listing = files("a/__array_schema.tdb", f"a/{FOUR}/__fragment_metadata.tdb", f"a/{FOUR}/obs.tdb")
    assert array_files(listing, "a", NEEDED).problem is None
