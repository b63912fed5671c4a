"""The one exception of the build: a sentence for the person at the keyboard."""

from __future__ import annotations


class AssemblyError(Exception):
    """A step of the build cannot be done; the text names the thing and how to fix it. `build.py` exits with 2."""
