"""The description of one dataset and the gene sets that it names, as they are now in the files beside the dataset."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

from cxg.descriptions.model import UNDESCRIBED, Described
from cxg.descriptions.reader import FILE_MAX_BYTES, Found, read_description
from cxg.format.geneset_files import read_gene_set_file
from cxg.format.genesets import read_genesets
from cxg.storage.beside import Folder
from cxg.storage.listing import is_s3

GENE_SETS_MAX_BYTES = 1 << 20
_ENDING = ".yaml"


def description_file(name: str) -> str:
    """Name the file that describes a dataset: `a.cxg` has `a.yaml`."""
    return name.removesuffix(".cxg") + _ENDING


def read_beside(folder: Folder, file: str) -> Described:
    """Read a description now; `UNDESCRIBED` where there is none.

    Parameters
    ----------
    folder : Folder
    file : str
        As `description_file` names it.

    Raises
    ------
    StorageUnavailable
        The store did not answer.
    """
    unreadable: list[str] = []
    content = _content(folder, file, FILE_MAX_BYTES, unreadable)
    if unreadable:
        return Described(UNDESCRIBED.description, tuple(unreadable), "unreadable", is_whole=False)
    if content is None:
        return UNDESCRIBED
    found = read_description(content, file)
    mark, missing = _gene_sets_mark(folder, file, found)
    problems = found.problems if missing is None else (*found.problems, missing)
    version = blake2b(f"{mark}\0".encode() + content, digest_size=8).hexdigest()
    return Described(found.description, problems, version, found.is_whole)


def read_gene_sets(folder: Folder, file: str, problems: list[str]) -> list[dict[str, Any]] | None:
    """Read a file of gene sets beside a dataset; None when there are none that can be used.

    Parameters
    ----------
    folder : Folder
    file : str
    problems : list of str
        Gets a sentence for each fault.

    Raises
    ------
    StorageUnavailable
        The store did not answer.
    """
    content = _content(folder, file, GENE_SETS_MAX_BYTES, problems)
    if content is None:  # that it is missing is a problem of the description
        return None
    if len(content) > GENE_SETS_MAX_BYTES:
        problems.append(f"{file}: it has more than {GENE_SETS_MAX_BYTES:,} bytes, and is not read.")
        return None
    return read_genesets(read_gene_set_file(content, file, problems), problems) or None


def _content(folder: Folder, file: str, most_bytes: int, problems: list[str]) -> bytes | None:
    """Read a file; None where there is none, or it cannot be read, which becomes a problem."""
    try:
        return folder.read(file, most_bytes)
    except OSError as error:
        problems.append(f"{file}: it cannot be read ({error.strerror}); let the server read it.")
        return None


def check_beside(folder: Folder, file: str) -> Described:
    """Read a description and the gene sets that it names; the problems are those of both files.

    Parameters
    ----------
    folder : Folder
    file : str
        As `description_file` names it.

    Raises
    ------
    StorageUnavailable
        The store did not answer.
    """
    described = read_beside(folder, file)
    problems: list[str] = []
    if described.description.gene_sets is not None:
        read_gene_sets(folder, described.description.gene_sets, problems)
    return replace(described, problems=(*described.problems, *problems))


def _gene_sets_mark(folder: Folder, file: str, found: Found) -> tuple[str, str | None]:
    """Return a text that changes with the file of gene sets, and what is wrong with its name."""
    name = found.description.gene_sets
    if name is None:
        return "", None
    if is_s3(folder.uri):
        size = folder.find(name)
        mark = None if size is None else str(size)
    else:
        try:
            content = folder.read(name, GENE_SETS_MAX_BYTES)
        except OSError as error:
            return f"unreadable {error.errno}", None
        mark = None if content is None else blake2b(content, digest_size=8).hexdigest()
    if mark is not None:
        return mark, None
    line = found.lines.get("gene_sets", 1)
    return "", f"{file}, line {line}: gene_sets names {name!r}, but there is no such file beside the dataset."
