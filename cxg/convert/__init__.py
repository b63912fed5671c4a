"""Conversion of AnnData files (.h5ad) to CXG; `cxg.convert.command` is its command line."""
