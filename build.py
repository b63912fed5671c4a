"""The build's command line; what it does lives in `assembly/`.

    python build.py client      web client into build/client
    python build.py sample      a small real dataset into build/sample
    python build.py customize   check the files in customize/
    python build.py image       the server's image
    python build.py bundle      artifact.zip for Elastic Beanstalk, for an image that is pushed
    python build.py build       image and artifact.zip
    python build.py push        the image to Amazon ECR
    python build.py release     a new version: changelog, commit and tag

`python build.py VERB --help` tells the rest. Exit code 0 when done, 2 with one
sentence when something is missing or wrong.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from assembly.errors import AssemblyError

# Only the module of the verb that was asked for is imported: `client` has to work without any package installed.
VERBS = {
    "client": "assembly.client",
    "sample": "assembly.sample",
    "customize": "assembly.customize",
    "image": "assembly.image",
    "bundle": "assembly.bundle",
    "build": "assembly.product",
    "push": "assembly.push",
    "release": "assembly.release",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    parser = argparse.ArgumentParser(prog="build.py", description="Put together what the server needs.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = next((word for word in given if not word.startswith("-")), None)
    try:
        for module in [VERBS[asked]] if asked in VERBS else VERBS.values():
            importlib.import_module(module).add_verb(verbs)
    except ModuleNotFoundError as fault:
        remedy = "use .venv/bin/python, which `make env` makes"
        print(f"build.py: this Python has no package {fault.name}; {remedy}", file=sys.stderr)
        return 2
    options = parser.parse_args(given)
    try:
        options.run(options, _say)
    except AssemblyError as fault:
        print(f"build.py {options.verb}: {fault}", file=sys.stderr)
        return 2
    except OSError as fault:  # a full disk, a folder we may not write
        print(f"build.py {options.verb}: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"build.py {options.verb}: stopped", file=sys.stderr)
        return 130
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
