"""cellxgene-eb: single-cell datasets (CXG) on the web, read-only, many at a time."""

__version__ = "1.0.0"
