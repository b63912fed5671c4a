"""Who may import whom. The arrows keep the parts replaceable and the server's start short."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Package, or module beside the packages -> what it may import, beside itself and `EVERYWHERE`. A name admits the module and
# all below it. From the top floor down.
ARROWS = {
    "entrypoint": ("aws", "config", "memory", "redact", "startup"),
    "cli": (
        *("aws", "config", "convert", "datasets", "descriptions", "format", "links", "memory", "plugins", "redact"),
        *("access", "sharing", "startup", "storage", "timeouts", "web.client", "web.headers"),
    ),
    # By name: gunicorn imports the application and the worker.
    "startup": ("aws", "config", "datasets", "format", "memory", "redact", "storage", "web.wsgi", "worker"),
    "web": (
        *("access", "compute", "config", "datasets", "decoded", "descriptions", "format", "links", "memory", "plugins"),
        *("redact", "sharing", "storage", "timeouts", "wire"),
    ),
    "decoded": ("compute.label_sums", "datasets.catalog", "format", "storage", "timeouts.threads"),
    "descriptions": ("access", "config.nodes", "datasets", "format", "links", "redact", "storage", "timeouts"),
    "datasets": ("format", "storage", "timeouts"),
    "sharing": ("aws.calls", "storage"),
    "convert": ("aws", "compute.label_sums", "format.geneset_files", "format.layout", "format.text", "links"),
    "wire": ("format.columns", "format.selection", "format.text"),
    "format": ("links", "storage", "timeouts"),
    "storage": ("config", "timeouts"),
    "worker": (),
    "plugins": (),
    "compute": (),
    "timeouts": (),
    "memory": ("config.runtime",),
    "aws": ("config",),
    "config": ("access", "links", "redact"),
    "links": (),
    "access": (),
    "memory_bounds": (),
    "errors": ("redact",),
    "redact": (),
    "cxg": (),  # the version, nothing else
}

# Any part may import these.
EVERYWHERE = ("errors", "memory_bounds")

# Library -> the parts that may use it.
LIBRARIES = {
    "boto3": {"aws", "convert"},
    "botocore": {"aws", "convert", "sharing"},
    "flask": {"plugins", "web"},
    "h5py": {"convert"},
    "hdf5plugin": {"convert"},
    "jwt": {"web"},
    "scipy": {"compute", "convert"},
    "tiledb": {"cli", "convert", "format", "storage"},
    "werkzeug": {"web"},
}


def sources():
    """Dotted name -> file, for the package and the entrypoint."""
    found = {"entrypoint": ROOT / "entrypoint.py"}
    for path in sorted((ROOT / "cxg").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if path.is_file()}


def imported(path, modules):
    """Dotted names a file imports anywhere in it, functions included; a submodule is named in full.

    A text that is the name of a module counts too: that is how the commands and the application are imported late.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = node.value.partition(":")[0]
            # "cxg.worker.BufferingWorker": gunicorn takes the class out of the module.
            name = named if named in modules else named.rpartition(".")[0]
            if name.startswith("cxg.") and name in modules:
                yield name
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
    assert {"entrypoint", "cxg.storage.storage", "cxg.web.app", "cxg.format.dataset"} <= set(MODULES)
    assert "cxg.storage.storage" in EDGES["cxg.format.dataset"]
    assert "cxg.cli.convert" in EDGES["cxg.cli.main"]
    assert {"cxg.web.wsgi", "cxg.worker"} <= EDGES["cxg.startup.gunicorn"]


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_arrows(name):
    """Each import inside the package is on the list of its part."""
    part = part_of(name)
    assert part in ARROWS, f"new part {part!r}: say in ARROWS what it may import"
    allowed = (*EVERYWHERE, part, *ARROWS[part])
    for target in EDGES[name]:
        if target == "cxg" or not target.startswith("cxg."):
            continue  # `cxg` itself holds the version only
        below = target.removeprefix("cxg.")
        assert any(below == entry or below.startswith(f"{entry}.") for entry in allowed), f"{name} imports {target}"


@pytest.mark.parametrize("part,arrow", [(part, arrow) for part, arrows in ARROWS.items() for arrow in arrows])
def test_every_arrow_is_used(part, arrow):
    """An arrow that nobody uses would let the next import in unseen."""
    targets = {edge.removeprefix("cxg.") for name in MODULES if part_of(name) == part for edge in EDGES[name]}
    assert any(target == arrow or target.startswith(f"{arrow}.") for target in targets), f"{part} imports no {arrow}"


@pytest.mark.parametrize(
    "library,part", [(library, part) for library in LIBRARIES for part in sorted(LIBRARIES[library])]
)
def test_every_part_uses_its_libraries(library, part):
    """As for the arrows."""
    targets = {edge.split(".")[0] for name in MODULES if part_of(name) == part for edge in EDGES[name]}
    assert library in targets, f"{part} does not import {library}"


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
