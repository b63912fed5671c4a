"""The commands of `cxg`: one module each; `cxg.cli.main` finds the one that was asked for."""
