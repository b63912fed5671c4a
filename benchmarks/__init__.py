"""Side-by-side measurements of this server and the published cellxgene 1.3.0.

``python -m benchmarks`` makes the data, starts one server after the other, measures, and
writes ``docs/benchmarks.md``. Linux only: memory and processor time are read from /proc.
"""
