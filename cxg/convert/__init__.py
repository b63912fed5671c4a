"""Conversion of AnnData files (.h5ad) to CXG; `cxg.cli.convert` is its command line."""
