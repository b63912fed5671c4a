"""Who may import whom. The arrows keep the parts replaceable and the server's start short."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Part of the package -> what it may import, beside `errors` and itself. A name admits the module and all below it.
ARROWS = {
    "cxg": (),  # the version, nothing else
    "aws": ("config",),
    "catalog": ("format", "listing", "opening", "stalls", "storage"),
    "dataroot": ("listing", "stalls", "storage"),
    "cachefolder": ("config",),
    "checksums": (),
    "cli": ("commands", "config", "ending", "redact"),
    "commands": (
        *("aws", "catalog", "compute", "config", "convert", "doctor", "firstlook", "format", "listing", "memory"),
        *("mounts", "reach"),
        *("redact", "secret_key", "server", "storage", "web.client", "web.headers"),
    ),
    "compute": (),
    "contexts": (),
    "copies": ("cachefolder", "checksums", "listing"),
    "config": ("links", "redact"),
    "convert": ("aws", "config", "format.inspect", "format.layout", "links", "listing", "storage"),
    "doctor": (
        *(
            "aws",
            "catalog",
            "config",
            "dataroot",
            "format",
            "listing",
            "memory",
            "mounts",
            "plugins",
            "reach",
            "redact",
            "rewritten",
            "secret_key",
            "server",
        ),
        *("storage", "web.client", "web.headers"),
    ),
    "cutfiles": (),
    "decoded": ("cachefolder", "catalog", "checksums", "expression", "format", "handover"),
    "entrypoint": (
        *("aws", "config", "firstlook", "memory", "mounts", "reach", "redact", "secret_key", "server", "storage"),
    ),
    "ending": ("stalls",),
    "errors": ("redact",),
    "expression": ("checksums", "format"),
    "firstlook": ("config", "dataroot", "format", "memory", "storage"),
    "handover": (),
    "format": ("checksums", "contexts", "copies", "cutfiles", "links", "listing", "stalls", "storage"),
    "kept": (),
    "links": (),
    "listing": (),
    "memory": ("config",),
    "mounts": ("aws", "config", "redact"),
    "opening": ("format", "listing", "stalls", "storage"),
    "plugins": ("config",),
    "reach": ("aws", "config"),
    "redact": (),
    "rewritten": ("aws", "config"),
    "secret_key": ("aws", "config"),
    "server": ("config", "memory", "redact"),
    "objects": (),
    "stalls": ("handover",),
    "storage": (
        "aws",
        "cachefolder",
        "config",
        "contexts",
        "copies",
        "cutfiles",
        "kept",
        "listing",
        "memory",
        "objects",
        "stalls",
    ),
    "web": (
        *(
            "cachefolder",
            "catalog",
            "compute",
            "config",
            "dataroot",
            "decoded",
            "expression",
            "format",
            "listing",
            "memory",
            "opening",
            "plugins",
            "redact",
        ),
        *("ending", "server", "stalls", "storage", "wire"),
    ),
    "worker": ("memory",),
    "wire": ("format.columns", "format.selection"),
}

# Library -> the parts that may use it.
LIBRARIES = {
    "boto3": {"aws", "convert", "secret_key", "storage"},
    "botocore": {"aws", "convert", "secret_key", "storage"},
    "flask": {"web", "plugins"},
    "h5py": {"convert"},
    "hdf5plugin": {"convert"},
    "scipy": {"compute", "convert"},
    "tiledb": {"contexts", "objects", "storage", "format", "convert"},
    "werkzeug": {"web", "plugins"},
}


def sources():
    """Dotted name -> file, for the package and the entrypoint."""
    found = {"entrypoint": ROOT / "entrypoint.py"}
    for path in sorted((ROOT / "cxg").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if path.is_file()}


def imported(path, modules):
    """Dotted names a file imports anywhere in it, functions included; a submodule is named in full."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else node.module


def part_of(name):
    """`cxg.web.app` -> `web`."""
    return name.split(".")[1] if name.startswith("cxg.") else name


MODULES = sources()
EDGES = {name: set(imported(path, MODULES)) for name, path in MODULES.items()}


def test_the_walk_sees_the_package():
    """An empty walk would pass every other test here."""
    assert {"entrypoint", "cxg.storage", "cxg.web.app", "cxg.format.dataset"} <= set(MODULES)
    assert "cxg.storage" in EDGES["cxg.format.dataset"]


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_arrows(name):
    """Each import inside the package is on the list of its part."""
    part = part_of(name)
    assert part in ARROWS, f"new part {part!r}: say in ARROWS what it may import"
    allowed = ("errors", part, *ARROWS[part])
    for target in EDGES[name]:
        if target == "cxg" or not target.startswith("cxg."):
            continue  # `cxg` itself holds the version only
        below = target.removeprefix("cxg.")
        assert any(below == entry or below.startswith(f"{entry}.") for entry in allowed), f"{name} imports {target}"


@pytest.mark.parametrize("name", MODULES)
def test_libraries_stay_in_their_parts(name):
    """Flask only where the web is, TileDB only where arrays are read or written, and so on."""
    for target in EDGES[name]:
        library = target.split(".")[0]
        assert part_of(name) in LIBRARIES.get(library, {part_of(name)}), f"{name} imports {library}"


def test_no_cycles():
    """No two modules need each other, not even by an import inside a function."""
    graph = {name: {edge for edge in edges if edge in MODULES and edge != name} for name, edges in EDGES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as fault:
        pytest.fail(f"import cycle: {' -> '.join(fault.args[1])}")


@pytest.mark.parametrize(
    "path", [ROOT / "build.py", *sorted((ROOT / "assembly").rglob("*.py"))], ids=lambda path: path.name
)
def test_the_build_stands_alone(path):
    """The build runs before the package and its libraries are installed."""
    for target in imported(path, MODULES):
        assert target.split(".")[0] not in {"cxg", "entrypoint", "flask", "numpy", "tiledb"}, target


def test_server_start_loads_nothing_heavy():
    """What a worker imports decides how fast and how small it starts."""
    code = "import sys, cxg.web.app; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"anndata", "boto3", "botocore", "h5py", "numba", "pandas", "PIL", "rich", "scipy"}
    loaded = set(done.stdout.split())
    assert "flask" in loaded
    assert not heavy & loaded
