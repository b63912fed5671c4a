"""`cxg describe`: write a commented description beside a dataset, filled in from what the CXG says."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from cxg import config
from cxg.config.runtime import Runtime
from cxg.descriptions.beside import description_file
from cxg.descriptions.model import Description
from cxg.descriptions.portal import from_dataset
from cxg.descriptions.template import template
from cxg.errors import ConversionError, DatasetNotFound
from cxg.format.dataset import Dataset, open_dataset
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument(
        "dataset",
        metavar="PATH|URI|NAME",
        help="folder of a CXG, s3://bucket/prefix/NAME.cxg, or the name of a dataset below CXG_DATAROOT",
    )
    parser.add_argument("--stdout", action="store_true", help="print the description and write no file")


def run(args: argparse.Namespace) -> int:
    """Write the description; a file that is there already is left alone.

    Raises
    ------
    DatasetNotFound, DatasetInvalid, StorageUnavailable
        The dataset is not there, or cannot be opened.
    ConversionError
        The file is there already, or cannot be written.
    """
    runtime = Runtime.of(os.environ)
    uri = find_dataset(args.dataset, runtime.overrides.get("CXG_DATAROOT", ""))
    name = uri.rpartition("/")[2]
    dataset = open_dataset(Storage(config.default(), runtime), uri, name)
    try:
        text = template(name, known_of(dataset))
    finally:
        dataset.close()
    if args.stdout:
        sys.stdout.write(text)
        return 0
    file = description_file(name)
    if is_s3(uri):
        raise ConversionError(
            f"Nothing is written to a bucket: run cxg describe --stdout {args.dataset} > {file}, edit the file and "
            f"copy it to {uri.rpartition('/')[0]}/{file}."
        )
    target = Path(uri).parent / file
    try:
        with target.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ConversionError(f"{target} is there already and is left as it is; --stdout prints a new one.") from None
    except OSError as error:
        raise ConversionError(f"{target} cannot be written ({error.strerror}); --stdout prints it.") from None
    sys.stdout.write(f"Wrote {target}: edit it; cxg inspect {args.dataset} names what is wrong in it.\n")
    return 0


def find_dataset(text: str, dataroot: str) -> str:
    """Return the path or URI of the dataset that the argument names.

    Raises
    ------
    DatasetNotFound
        There is no folder of that name here, and none below the dataroot.
    """
    if is_s3(text):
        return text.rstrip("/")
    candidates = [Path(text)]
    if dataroot and "/" not in text:
        if is_s3(dataroot):
            return f"{dataroot.rstrip('/')}/{text}"
        candidates += [Path(dataroot) / text, Path(dataroot) / f"{text}.cxg"]
    for path in candidates:
        if path.is_dir():
            # The name beside which the file belongs, whatever the folder is a link to.
            return str(Path(os.path.abspath(path)))  # noqa: PTH100
    where = f" and none below {dataroot}" if dataroot else ""
    raise DatasetNotFound(f"There is no folder {text}{where}: give the path of a CXG.")


def known_of(dataset: Dataset) -> Description:
    """Collect what the CXG itself says, with its title."""
    name = dataset.name.removesuffix(".cxg")
    return replace(from_dataset(dataset), title=dataset.title if dataset.title != name else None)
