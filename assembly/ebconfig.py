"""One line added to `.elasticbeanstalk/config.yml`, the EB CLI's own file: which zip `eb deploy` sends.

The file is edited as text, so that comments, order and quoting stay; what comes out is read again and
compared with what went in before it is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from assembly.errors import AssemblyError


def add_artifact(config: Path, artifact: Path) -> str | None:
    """Set `deploy.artifact`, unless it is set already.

    Returns
    -------
    What was done or is left to do, for a person; None when all was as it should be.

    Raises
    ------
    AssemblyError
        The file cannot be read, or its `deploy` section cannot be edited safely.
    """
    if not config.is_file():
        return f"no {config} here yet; `eb init` makes it, then build again, or add `deploy: {{artifact: {artifact}}}`"
    try:
        text = config.read_text(encoding="utf-8")
        edited = with_artifact(text, artifact.as_posix())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AssemblyError(f"{config} cannot be read: {' '.join(str(error).split())}") from error
    if edited is None:
        return None
    if edited == text:
        return f"{config} names another artifact, which is kept; `eb deploy` will not send {artifact}"
    config.write_text(edited, encoding="utf-8")
    return f"{config} now names {artifact} as deploy.artifact"


def with_artifact(text: str, artifact: str) -> str | None:
    """Text with `deploy.artifact` added; the same text when another is set, None when this one is.

    Raises
    ------
    AssemblyError
        `deploy` is something that a line cannot be added to.
    yaml.YAMLError
        The text is not YAML.
    """
    before = yaml.safe_load(text) or {}
    if not isinstance(before, dict):
        raise AssemblyError("the EB CLI's config.yml holds no sections; run `eb init` again")
    deploy = before.get("deploy")
    if isinstance(deploy, dict) and "artifact" in deploy:
        return None if deploy["artifact"] == artifact else text
    newline = "\r\n" if "\r\n" in text else "\n"
    if "deploy" not in before:
        gap = "" if not text or text.endswith("\n") else newline
        edited = f"{text}{gap}deploy:{newline}  artifact: {artifact}{newline}"
    else:
        edited = _below_deploy(text, deploy, artifact, newline)
    expected: dict[str, Any] = {
        **before,
        "deploy": {**(deploy if isinstance(deploy, dict) else {}), "artifact": artifact},
    }
    try:
        safe = yaml.safe_load(edited) == expected
    except yaml.YAMLError:
        safe = False
    if not safe:
        raise AssemblyError(
            f"the EB CLI's config.yml cannot be edited safely; add deploy: artifact: {artifact} by hand"
        )
    return edited


def _below_deploy(text: str, deploy: object, artifact: str, newline: str) -> str:
    """Add the line right below `deploy:`, indented like its first neighbour."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return text
    key, value = next((key, value) for key, value in root.value if key.value == "deploy")
    indent = " " * (key.start_mark.column + 2)
    if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
        indent = " " * value.value[0][0].start_mark.column
    elif deploy is not None:
        return text
    lines = text.splitlines(keepends=True)
    line = key.start_mark.line
    if not lines[line].endswith("\n"):
        lines[line] += newline
    lines.insert(line + 1, f"{indent}artifact: {artifact}{newline}")
    return "".join(lines)
