"""A soak: ordinary visitors, hostile clients and disturbances of the files for some minutes, every answer judged.

`make soak MINUTES=30` runs it; ``python -m tests.soak --help`` lists what can be chosen.
"""
