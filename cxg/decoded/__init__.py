"""Decoded copies of datasets on local disk, and reading expression from them where they are sound."""
