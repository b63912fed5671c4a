"""Commands of `cxg` that are about running the server; see `cxg.cli`."""
