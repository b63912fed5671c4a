"""What a listing of files says about the arrays of a CXG, before any of them is opened.

TileDB is quiet about damage: a fragment without its commit marker is invisible and reads
as fill values, and a missing data file only shows at the first read. The names of the
files tell both. Format numbers are TileDB's array format versions: up to 4 nothing is
marked, 5 to 11 mark a fragment with `<fragment>.ok` beside it, 12 and later with
`__commits/<fragment>.wrt` (or list it in a consolidated `.con` file).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cxg.format.layout import EMB, GROUP_MARKER, MEMBERS, OBS, VAR
from cxg.storage.listing import FileEntry, Listing

NEVER_WRITTEN = "it was never written"
_OLD_SCHEMA = "__array_schema.tdb"
_FRAGMENT_METADATA = "__fragment_metadata.tdb"
# From this format on the data files of a fragment are called a0.tdb, a0_var.tdb and so on.
_NUMBERED_FORMAT = 9
_MOST_FILES = 64


@dataclass(frozen=True)
class ArrayFiles:
    """State of one array's files.

    Attributes
    ----------
    fragments : tuple of str
        Fragments that are visible to TileDB.
    problem : str or None
        What is wrong, if anything.
    about_tiles_bytes : int
        Size of the files that say where each tile is.
    """

    fragments: tuple[str, ...]
    problem: str | None
    about_tiles_bytes: int = 0


@dataclass(frozen=True)
class ArrayLayout:
    """Files of one array of a known layout, with paths in the dataset.

    Attributes
    ----------
    opening : tuple of FileEntry
        What TileDB reads when it opens the array and before it reads values.
    """

    name: str
    opening: tuple[FileEntry, ...]
    _data: tuple[FileEntry, ...]

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Return the paths of all files."""
        return (*self.opening, *self._data)

    def data(self, attributes: Iterable[int]) -> list[FileEntry]:
        """Return the files with the values of some attributes, by their numbers in the schema."""
        wanted = {f"a{number}{kind}.tdb" for number in attributes for kind in ("", "_var", "_validity")}
        return [entry for entry in self._data if entry.path.rsplit("/", 1)[1] in wanted]


def array_layout(listing: Listing, name: str) -> ArrayLayout | None:
    """Sort the files of an array into those that open it and those that hold values; None when it is unusual.

    Unusual is what another version of the schema or of the format may have named differently, or many fragments.
    """
    prefix = f"{name}/"
    files = [entry for entry in listing.entries if entry.path.startswith(prefix)]
    schemas = [entry for entry in files if entry.path.removeprefix(f"{prefix}__schema/").count("/") == 0]
    fragments = {entry.path.rsplit("/", 1)[0] for entry in files if entry.path.endswith(f"/{_FRAGMENT_METADATA}")}
    if len(schemas) != 1 or not all(_is_numbered_format(fragment) for fragment in fragments) or listing.truncated:
        return None
    data = tuple(
        entry
        for entry in files
        if not entry.path.endswith(f"/{_FRAGMENT_METADATA}") and entry.path.rsplit("/", 1)[0] in fragments
    )
    opening = tuple(entry for entry in files if entry not in data)
    return ArrayLayout(name, opening, data) if len(opening) <= _MOST_FILES else None


def small_arrays(listing: Listing) -> dict[str, ArrayLayout]:
    """Return the layouts of all arrays of a CXG but the matrix, by name; unusual ones are left out."""
    names = ["obs", "var", "cxg_group_metadata", "X_totals", *(f"emb/{name}" for name in arrays_below(listing, "emb"))]
    found = {name: array_layout(listing, name) for name in names}
    return {name: parts for name, parts in found.items() if parts is not None}


def _is_numbered_format(fragment: str) -> bool:
    last = fragment.rsplit("_", 1)[-1]
    return last.isdigit() and _NUMBERED_FORMAT <= int(last) < 1000


def has_array(listing: Listing, name: str) -> bool:
    """Tell whether `name` is a TileDB array (a folder with a schema)."""
    return (
        f"{name}/{_OLD_SCHEMA}" in listing.paths
        or any(entry.path.startswith(f"{name}/__schema/") for entry in listing.entries)
        or bool(odd_files(listing, name))
    )


def has_traces(listing: Listing, name: str) -> bool:
    """Tell whether there are files of a TileDB array in a folder, even if its schema is lost."""
    if has_array(listing, name):
        return True
    inside = {entry.path[len(name) + 1 :] for entry in listing.entries if entry.path.startswith(f"{name}/")}
    return any(
        path.startswith(("__fragments/", "__commits/")) or path.endswith(f"/{_FRAGMENT_METADATA}") for path in inside
    ) or (any(path.startswith("__meta/") for path in inside) and not _is_group(inside))


def missing_tables(listing: Listing) -> str | None:
    """Say why a folder is not a CXG: `obs` or `var` is missing; None when both are there.

    A folder that has other parts of a CXG, or is called ``*.cxg`` and holds nothing, was one.
    """
    missing = [name for name in (OBS, VAR) if not has_array(listing, name)]
    if not missing:
        return None
    what = " and ".join(missing) + (" arrays" if len(missing) > 1 else " array")
    if not listing.entries:
        return "This CXG is damaged: it is an empty folder. Copy the dataset again from its source."
    if is_cxg(listing):
        return f"This CXG is damaged: it has no {what}. Copy the dataset again from its source."
    return f"This is not a CXG: it has no {what}. Make one with 'cxg convert'."


def is_cxg(listing: Listing) -> bool:
    """Tell whether a folder is, or once was, a CXG: it is a TileDB group, or holds one of the arrays of a CXG."""
    if GROUP_MARKER in listing.paths or any(path.startswith("__group/") for path in listing.paths):
        return True
    return any(has_traces(listing, name) for name in MEMBERS - {EMB}) or bool(arrays_below(listing, EMB))


def _is_group(paths: set[str]) -> bool:
    return "__tiledb_group.tdb" in paths or any(path.startswith("__group/") for path in paths)


def odd_files(listing: Listing, name: str) -> tuple[str, ...]:
    """List the pipes, sockets and devices of the array `name` that TileDB would open, and might wait for forever.

    TileDB opens nothing directly in the folder of fragments, but all it finds elsewhere.
    """
    return tuple(path for path in listing.below(name).odd if not path.startswith("__fragments/") or path.count("/") > 1)


def arrays_below(listing: Listing, group: str) -> tuple[str, ...]:
    """List the arrays directly inside a group, sorted, including those that have lost their schema."""
    inside = listing.below(group)
    return tuple(name for name in inside.children() if not name.startswith("__") and has_traces(inside, name))


def array_files(listing: Listing, name: str, needed: frozenset[str] = frozenset()) -> ArrayFiles:
    """Look at the files of one array; `needed` are data files that every fragment of it must have.

    A problem is one of: no schema, two generations of the array in one folder, fragments
    that have lost their commit file, a fragment without data files, or nothing written at all.
    """
    files = listing.below(name)
    if not has_array(listing, name):
        return ArrayFiles((), "its schema is missing")
    odd = odd_files(listing, name)
    if odd:
        return ArrayFiles((), f"{odd[0]} in it is not a regular file, but a pipe, socket or device")
    if _OLD_SCHEMA in files.paths and any(path.startswith("__schema/") for path in files.paths):
        return ArrayFiles((), "two versions of the array are mixed in one folder")
    found, committed = _fragments(files)
    visible = tuple(sorted(found & committed))
    if found and not visible:
        return ArrayFiles((), "its commit files are missing, so TileDB sees no data")
    if not found:
        return ArrayFiles((), NEVER_WRITTEN)
    # A write that was broken off leaves no metadata: that comes last, just before the commit.
    hidden = [one for one in found - set(visible) if _is_complete(files, one) and not _is_merged(one, visible)]
    if hidden:
        return ArrayFiles(visible, f"the commit files of {len(hidden)} of its {len(found)} fragments are missing")
    hollow = [fragment for fragment in visible if not _has_data(files, fragment, needed)]
    if hollow:
        return ArrayFiles(visible, "its data files are missing or empty")
    about_tiles = sum(entry.size for entry in files.entries if entry.path.endswith(f"/{_FRAGMENT_METADATA}"))
    return ArrayFiles(visible, None, about_tiles)


def _fragments(files: Listing) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all fragment folders, and of those TileDB will see."""
    new = {path.split("/")[1] for path in files.paths if path.startswith("__fragments/") and path.count("/") > 1}
    old = {
        path.split("/")[0] for path in files.paths if path.endswith("/__fragment_metadata.tdb") and path.count("/") == 1
    }
    commits = {path.rsplit("/", 1)[1].rsplit(".", 1)[0] for path in files.paths if path.startswith("__commits/")}
    if any(path.startswith("__commits/") and path.endswith(".con") for path in files.paths):
        commits |= new
    # The last part of a fragment's name is the format it was written in.
    marked = {fragment for fragment in old if f"{fragment}.ok" in files.paths}
    unmarked = {fragment for fragment in old if not _is_marked_format(fragment)}
    return frozenset(new | old), frozenset((new & commits) | marked | unmarked | (old & commits))


def _is_complete(files: Listing, fragment: str) -> bool:
    return not files.paths.isdisjoint(f"{folder}{fragment}/{_FRAGMENT_METADATA}" for folder in ("__fragments/", ""))


def _is_merged(fragment: str, others: Iterable[str]) -> bool:
    """Tell whether another fragment was merged from it: that one spans its time, and a clean-up was interrupted."""
    first, last = _times(fragment)
    return any(start <= first and last <= end for start, end in map(_times, others))


def _times(fragment: str) -> tuple[int, int]:
    """Return first and last time of a fragment, in milliseconds; its name is __<first>_<last>_<unique>_<format>."""
    words = fragment.split("_")[2:4]
    return (int(words[0]), int(words[1])) if len(words) == 2 and all(map(str.isdigit, words)) else (0, 0)


def _is_marked_format(fragment: str) -> bool:
    last = fragment.rsplit("_", 1)[-1]
    return last.isdigit() and len(last) < 4 and int(last) >= 5


def _has_data(files: Listing, fragment: str, needed: frozenset[str]) -> bool:
    inside = (f"__fragments/{fragment}/", f"{fragment}/")
    sizes = {entry.path.rsplit("/", 1)[1]: entry.size for entry in files.entries if entry.path.startswith(inside)}
    # Only texts that are all empty take no space. TileDB crashes on some other empty files.
    if any(size == 0 and not name.endswith("_var.tdb") for name, size in sizes.items()):
        return False
    present = sizes.keys() - {"__fragment_metadata.tdb"}
    # Names like a0.tdb came with format 9; older files are named after the attribute.
    return bool(present) and (needed <= present or not any(name in present for name in ("a0.tdb", "d0.tdb")))
