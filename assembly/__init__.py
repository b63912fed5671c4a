"""What `build.py` is made of: the web client, sample data, the image and the deployment bundle.

Nothing here imports `cxg`: these modules run before, and beside, the package
they put together.
"""

from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

Say = Callable[[str], None]
"""Tells a person one line."""


def one_line(text: object) -> str:
    """Return the text, or an error's, without line breaks and repeated blanks."""
    return " ".join(str(text).split())
