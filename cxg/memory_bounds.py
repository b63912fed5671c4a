"""Bounds in bytes and values that make up the memory plan: the one table of them.

`cxg.memory` shares out the memory of a machine by the sums at the end of each section. The modules that keep to a
bound import it from here, so a bound that is raised raises the plan. "Measured" says how; "counted" means that
the number follows from the types; "estimated" errs on the large side.
"""

from __future__ import annotations

MB = 1 << 20

# The program
# Measured: resident memory of a worker that has answered every route once (interpreter, numpy, TileDB, scipy.special),
# with what the C library keeps of freed memory.
PROGRAM_MB = 80

# What is known of open datasets (`cxg.storage.bounded_cache`)
# Chosen: holds one dataset of a million cells, or a dozen of 100,000.
OPEN_MB = 36
# Measured: an open TileDB array, and what TileDB knows of its tiles for each byte of the files that describe them; one
# more for where the tiles begin in their files (40 bytes a tile, which some 37 describe).
OPEN_ARRAY_BYTES, TILE_INFO_TIMES = 64 << 10, 7
# Counted: an open decoded matrix has three files and their checksums; with the share above some hundred are open.
OPEN_DECODED_BYTES = 256 << 10

# Encoded answers that are kept (`cxg.web.answers.cache`)
# Chosen: an answer that fell out is made anew within milliseconds, so more would seldom be asked for again.
ANSWERS_MIN_MB, ANSWERS_MAX_MB = 16, 48
# Estimated: a kept answer beside its body, its path and its query.
ANSWER_OVERHEAD_BYTES = 700

# Answers that are being made (`cxg.web.limits`)
# Chosen: one answer of a million cells, or many of smaller datasets.
MAKING_MB = 48
# Counted: a number of an answer, and measured: what is read and decompressed while it becomes part of it.
NUMBER_BYTES, READ_BYTES = 4, 36
# Counted: the mean of a gene set for each cell (float64), and its answer (float32).
SUMMARY_BYTES = 12
# Estimated, rounded up: a text as a Python object without its letters, and a text in JSON for each character.
TEXT_OBJECT_BYTES, JSON_TIMES = 100, 4
# Chosen: genes are read together up to this many values.
TOGETHER_VALUES = 1 << 19
# Chosen: a filter that names every gene of a large dataset is shorter.
FILTER_BYTES = 1_000_000
# Measured on the shapes in tests/unit/web/limits/hostile_bodies.py: parsed JSON and queries, for each byte of them.
PARSE_TIMES = 45
# Chosen: shorter bodies do not matter for the plan.
SMALL_BODY_BYTES = 64 << 10
# Counted: positions of cells (int64); two long lists while they are read are a mask and the ends of ranges of each.
POSITION_BYTES = 8
LISTED_CELL_BYTES = 2 * POSITION_BYTES + 9

# One long read at a time (`cxg.web.limits.turns`)
# Chosen: most values of one block of dense rows (float32).
DENSE_BLOCK_VALUES = 16 << 20
# Measured on 10,000 of 100,000 cells x 20,000 genes: a scan with these buffers (two of them) and tiles takes 65 MB and
# 2.3 s; with 1 GB of tiles it takes 600 MB and the same time. The largest tiles ever found, of a million values, need
# 16 MB.
ROW_BUFFER_BYTES, ROW_TILES_BYTES = 4 << 20, 32 << 20
# Chosen: genes of a set are read in groups of at most this many values (float32, read and added up).
GENE_GROUP_VALUES = 4 << 20
# Chosen: stored sums of labels that are read at a time, while no block of X is.
LABEL_BLOCK_BYTES = 8 << 20
# Chosen: codes of all cells (int16) while sums of labels are made in the background, as a scan by gene takes less than
# one by cell; and what is kept of them (int8 where they fit) for the comparisons of a dataset.
LABEL_CODES_BYTES, KEPT_CODES_BYTES = 20 << 20, 16 << 20
# Chosen: sums that a copy on disk may hold.
LABEL_SUMS_BYTES = 48 << 20
# Measured: a scan of a large dataset takes 88 MB in all. That is one block of dense rows, or a scan of sparse rows,
# and beside it the positions of cells and the sums of each gene.
_BESIDE_A_BLOCK_MB = 24
SCAN_MB = 4 * DENSE_BLOCK_VALUES // MB + _BESIDE_A_BLOCK_MB

# Single genes and columns (part of "answers that are being made")
# Chosen: tiles that one query may hold, and what TileDB-Py allocates for each result before it grows.
COLUMN_TILES_BYTES, COLUMN_BUFFER_BYTES = 32 << 20, 1 << 20

# The list of datasets (`cxg.web.start_page`)
MOST_LISTED = 5000
# Measured: summary and rendered card of a dataset with a description of some 60 words; without one, 2,500.
_LISTED_BYTES = 3_600
# Chosen: pages of the list as it is now and of filtered ones; pictures.
PAGES_BYTES, PICTURES_BYTES = 4 << 20, 5 << 20
# Chosen: descriptions that were asked for lately, for some hundred datasets.
DESCRIPTIONS_BYTES = 1 << 20
# Chosen: pages of single datasets, some kilobytes each.
ABOUT_PAGES_BYTES = 1 << 20
_BESIDE_BYTES = PAGES_BYTES + PICTURES_BYTES + DESCRIPTIONS_BYTES + ABOUT_PAGES_BYTES
LIST_MB = -(-(MOST_LISTED * _LISTED_BYTES + _BESIDE_BYTES) // MB)

# Requests being received, and answers that wait for slow clients (`cxg.worker`)
# Chosen: what `cxg.worker.limits` shares out.
RECEIVING_MB, SENDING_MB = 8, 20
CONNECTIONS_MB = RECEIVING_MB + SENDING_MB

# A dataset as a whole (`cxg.format.memory_size`), before any of it is allocated
# Counted: its largest answer has one value for each cell; a comparison has a dozen numbers for each gene.
CELL_BYTES, GENE_BYTES = NUMBER_BYTES + READ_BYTES, 120
# Estimated, rounded up: JSON text of metadata as Python objects, for each byte.
METADATA_TIMES = 10
