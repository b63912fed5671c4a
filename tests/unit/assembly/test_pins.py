"""A site's requirements: exact pins only, and none against ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from assembly.pins import find_violations, read_own_pins

PROJECT = Path(__file__).parents[3]
HASH = "--hash=sha256:" + "0" * 64
OWN = f"""# made by a tool
Flask==3.1.3 \\
    {HASH} \\
    {HASH}
    # via -r requirements.in
typing-extensions==4.16.0 ; python_version < "3.13" \\
    {HASH}
"""


def violations(text: str) -> list[str]:
    return [one.removeprefix("r.txt ") for one in find_violations(text, OWN, "r.txt")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n\n",
        "humanize==4.17.0\n",
        "humanize == 4.17.0  # the newest\r\nPyJWT[crypto]==2.10.1\r\n",
        "pywin32==308 ; sys_platform == 'win32'\n",
        f"humanize==4.17.0 \\\n    {HASH} \\\n    {HASH}\npyjwt==2.10.1 {HASH}\n",
        "flask==3.1.3\n",
        "Typing_Extensions==4.16\n",
        "pytz==2024.1.post1\nabc==1!2.0+local.1\n",
    ],
)
def test_exact_pins_are_taken(text: str) -> None:
    assert violations(text) == []


BAD_LINES = {
    "humanize": "humanize has no version; pin it as humanize==version",
    "humanize>=4": "humanize>=4 is not exact; pin it as humanize==version",
    "humanize~=4.1": "humanize~=4.1 is not exact; pin it as humanize==version",
    "humanize==4.*": "humanize==4.* is not exact; pin it as humanize==version",
    "humanize===4.1": "humanize===4.1 is not exact; pin it as humanize==version",
    "humanize==4.1,!=4.2": "humanize!=4.2,==4.1 is not exact; pin it as humanize==version",
    "humanize = 4.1": "'humanize = 4.1' is not a valid requirement; write name==version",
    "humanize==four": "'humanize==four' is not a valid requirement; write name==version",
    "humanize @ https://example.org/h.whl": "humanize comes from a URL; pin it as humanize==version",
    "https://example.org/h-1.whl": "'https://example.org/h-1.whl' is a URL; pin a published release as name==version",
    "git+https://example.org/h.git@v1": (
        "'git+https://example.org/h.git@v1' comes from version control; pin a published release as name==version"
    ),
    "h @ git+ssh://git@example.org/h.git": ("'h' comes from version control; pin a published release as name==version"),
    "./wheels/h-1-py3-none-any.whl": (
        "'./wheels/h-1-py3-none-any.whl' is a file on this machine; pin a published release as name==version"
    ),
    "h-1.tar.gz": "'h-1.tar.gz' is a file on this machine; pin a published release as name==version",
    "-r more.txt": "the pip option -r is not taken here; this file holds name==version only",
    "-e .": "the pip option -e is not taken here; this file holds name==version only",
    "--pre": "the pip option --pre is not taken here; this file holds name==version only",
    "humanize==4.1 --no-binary=:all:": "the option --no-binary is not taken here; only --hash=sha256:... is",
    "flask==3.0.0": "flask==3.0.0 contradicts the server's own flask==3.1.3; remove the line",
    "typing.extensions==4.15": (
        "typing.extensions==4.15 contradicts the server's own typing-extensions==4.16.0; remove the line"
    ),
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_anything_else_is_a_violation(line: str) -> None:
    assert violations(f"# first\n{line}\n") == [f"line 2: {BAD_LINES[line]}"]


def test_all_violations_are_listed_with_their_lines() -> None:
    text = f"a==1\n\nb>=2 \\\n  ,<3\nA==1\nflask==2.0\nc==1 {HASH}\n"
    assert violations(text) == [
        "line 3: b<3,>=2 is not exact; pin it as b==version",
        "line 5: A is there twice, first on line 1",
        "line 6: flask==2.0 contradicts the server's own flask==3.1.3; remove the line",
        "line 1: a has no hash, but c has: hash all of them or none",
        "line 6: flask has no hash, but c has: hash all of them or none",
    ]


def test_our_own_requirements_are_all_exact_pins() -> None:
    own = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    assert find_violations(own, own) == []
    assert {"flask", "gunicorn", "tiledb"} <= read_own_pins(own).keys()
