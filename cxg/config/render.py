"""The default file and docs/config.md, both rendered from the metadata in `model`."""

from __future__ import annotations

import dataclasses
import json
import textwrap

from cxg.access import EVERYONE
from cxg.config.environment import ENVIRONMENT
from cxg.config.model import Config
from cxg.config.old_keys import RETIRED, RETIRED_TILEDB
from cxg.config.reader import iterate_keys, section_of

_WIDTH = 100

_DOCS_START = """\
# Configuration

<!-- Written by `cxg config docs > docs/config.md`; the text lives in cxg/config/. -->

One YAML file. Its sections and keys are those of the hosted cellxgene of 2020, so a file written for it is understood.
Every key may be left out; an empty file means all defaults.

```sh
cxg launch --dump-default-config > config.yaml   # every key, its default and its meaning
cxg config check config.yaml                     # every fault at once, with key and line; exit code 2 if there is one
cxg launch --config config.yaml DATAROOT
```

A typical file:

```yaml
server:
  about_legal_tos: /static/cellxgene/deploy/tos.html
multi_dataset:
  dataroot: s3://my-bucket/datasets
embeddings:
  names: [umap, tsne]
```

An unknown key, a wrong type or a value out of range is an error that names the key, the line and what is allowed; the
server does not start. The file never needs to hold a secret.
"""

_DOCS_LATER = """\
## Files of later versions

From late 2020 on, cellxgene nested its keys as `server.app.*`, `server.multi_dataset.*`, `dataset.*`,
`per_dataset_config` and `external`. Such a file is not read; for each of its keys `cxg config check` names the key to
use here, for example:

| found | write |
|---|---|
| `server.app.port` | `server.port` |
| `server.multi_dataset.dataroot` | `multi_dataset.dataroot` |
| `server.data_locator.s3.region_name` | `data_locator.s3.region_name` |
| `dataset.app.about_legal_tos` | `server.about_legal_tos` |
| `dataset.presentation.max_categories` | `presentation.max_categories` |
| `dataset.diffexp.enable` | `diffexp.enable` |
| `per_dataset_config` | nothing: one configuration holds for all datasets |
| `external` | the environment variables above |
"""


def default_yaml() -> str:
    """Return the whole default configuration as a YAML file with comments; loading it gives the defaults."""
    lines = ["# Configuration of cellxgene-eb. Each key has its default here; all of them may be left out.", ""]
    lines += _section_lines(Config, ())
    return "\n".join(lines).rstrip("\n") + "\n"


def _section_lines(cls: type, path: tuple[str, ...]) -> list[str]:
    indent = "  " * len(path)
    lines = []
    for one in dataclasses.fields(cls):
        here = (*path, one.name)
        lines += _comment(one.metadata.get("doc", ""), indent)
        section = section_of(one)
        if section is not None:
            lines += [f"{indent}{one.name}:", *_section_lines(section, here)]
            continue
        variable = next((each.name for each in ENVIRONMENT if each.key == ".".join(here)), None)
        lines += _comment(f"The environment variable {variable} wins over it.", indent) if variable else []
        lines += [f"{indent}{one.name}: {_value(one)}", ""]
    return lines


def _comment(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False, break_on_hyphens=False
    )


def _value(one: dataclasses.Field[object]) -> str:
    """Write a key's default as YAML; JSON is YAML."""
    value = {} if one.default is dataclasses.MISSING else one.default
    if value == (EVERYONE,):
        return EVERYONE
    return str(value) if isinstance(value, str) and value.isalnum() and not value.isdigit() else json.dumps(value)


def docs_markdown() -> str:
    """Render docs/config.md: every key with its type, default and meaning, and the environment variables."""
    parts = [_DOCS_START]
    for section in dataclasses.fields(Config):
        rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
        for path, one in iterate_keys(section_of(section) or Config, (section.name,)):
            cells = (f"`{'.'.join(path)}`", one.metadata["kind"].expected, f"`{_value(one)}`", one.metadata["doc"])
            rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "\\<") for cell in cells) + " |")
        parts.append(f"## {section.name}\n\n{section.metadata['doc']}\n\n" + "\n".join(rows) + "\n")
    parts += [_environment(), _retired(), _DOCS_LATER]
    return "\n".join(parts)


def _environment() -> str:
    rows = [f"| `{one.name}` | {f'`{one.key}`' if one.key else ''} | {one.meaning} |" for one in ENVIRONMENT]
    intro = (
        "## Environment variables\n\nA variable that is set and not empty wins over the key of the file. CXG_DATAROOT\n"
        "sets `single_dataset.datapath` of the file aside, and CXG_DATAPATH `multi_dataset.dataroot`.\n"
    )
    return "\n".join([intro, "| variable | key | meaning |", "|---|---|---|", *rows, ""])


def _retired() -> str:
    rows = [f"| `{name}` | {one.why} |" for name, one in RETIRED.items()]
    rows += [
        f"| `adaptor.cxg_adaptor.tiledb_ctx`: `{one}` | TileDB no longer has it |" for one in sorted(RETIRED_TILEDB)
    ]
    intro = (
        "## Keys of 2020 without effect\n\nThey are accepted, so that an old file works. One that asks for something\n"
        "gives a warning, never an error.\n"
    )
    return "\n".join([intro, "| key | why |", "|---|---|", *rows, ""])
