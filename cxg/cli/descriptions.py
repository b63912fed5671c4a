"""What `cxg inspect` and `cxg doctor` say of the descriptions beside datasets."""

from __future__ import annotations

from collections.abc import Sequence

from cxg.cli.outcome import OK, WARNING, Check
from cxg.datasets.dataroot import Dataroot, SingleRoot
from cxg.descriptions.beside import check_beside, description_file
from cxg.descriptions.store import Descriptions
from cxg.errors import StorageUnavailable
from cxg.format.inspection.findings import Inspection
from cxg.storage.beside import Folder
from cxg.storage.storage import Storage


def inspect_description(storage: Storage, uri: str, found: Inspection) -> None:
    """Add what is wrong with the description beside the dataset at `uri`, if there is one."""
    folder, _, name = uri.rpartition("/")
    file = description_file(name)
    try:
        checked = check_beside(Folder(storage, folder or "/"), file)
    except StorageUnavailable as error:
        found.warn(file, str(error))
        return
    found.facts["description"] = file if checked.version else None
    for problem in checked.problems:
        where, _, sentence = problem.partition(": ")
        found.warn(where, sentence)


def check_descriptions(storage: Storage, root: Dataroot | SingleRoot, names: Sequence[str]) -> Check:
    """Check the descriptions beside the datasets, and that each has its dataset.

    Raises
    ------
    StorageUnavailable
        They cannot be listed.
    """
    descriptions = Descriptions(storage, root)
    files = descriptions.files()
    wanted = {descriptions.file_of(name) for name in names}
    problems: list[str] = []
    for file in sorted(wanted & files.keys()):
        problems += check_beside(descriptions.folder, file).problems
    misnamed = sorted(file for file in files if file.lower().endswith((".yml", ".yaml")) and not file.endswith(".yaml"))
    problems += [f"{file} is not read: call it {file.rpartition('.')[0]}.yaml." for file in misnamed]
    if isinstance(root, Dataroot):
        alone = sorted(file for file in files.keys() - wanted if file.endswith(".yaml"))
        problems += [f"{file}: there is no dataset {file.removesuffix('.yaml')}.cxg beside it." for file in alone]
    text = f"{len(wanted & files.keys())} of {len(names)} datasets have one"
    if problems:
        text += "; what is wrong is left out, the rest is used"
    return Check("descriptions", WARNING if problems else OK, text, tuple(problems))
