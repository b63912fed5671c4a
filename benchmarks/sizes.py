"""How much is measured: the full comparison, and the quick one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Data:
    """One made dataset; equal values give equal files."""

    name: str
    cells: int
    genes: int
    density: float  # asked of the generator; a little more comes out
    formats: tuple[str, ...]  # how X is stored in the h5ad; cellxgene 1.3.0 is measured with each

    @property
    def convert_from(self) -> str:
        return self.formats[0]


@dataclass(frozen=True)
class Sizes:
    """Numbers of repetitions, and what is repeated.

    Attributes
    ----------
    rounds : how often each server is started and measured, in turn
    plain : whether uncompressed answers are measured too
    genes, sets, repeats : first-time requests per round, and how often each is asked again
    diffexp : (cells in each set, comparisons per round for us, for cellxgene 1.3.0)
    load_s, warm_s : measured seconds of load, and seconds before they begin
    popular : number of genes that the simulated visitors choose from
    busy_s : seconds of `/schema` beside another visitor's differential expression
    many : numbers of open datasets at which memory is looked at
    scale : datasets of growing size, for our server alone
    scale_sets : cells in each of the two sets that are compared on them, where there are so many
    """

    big: Data
    small: Data
    rounds: int
    plain: bool
    genes: int
    sets: int
    repeats: int
    diffexp: tuple[tuple[int, int, int], ...]
    contiguous: tuple[int, ...]
    rest: tuple[int, ...]
    load_s: float
    warm_s: float
    popular: int
    busy_s: float
    busy_cells: int
    many: tuple[int, ...]
    scale: tuple[Data, ...]
    scale_sets: tuple[int, ...]

    @property
    def largest_set(self) -> int:
        return max(cells for cells, _, _ in self.diffexp)


_BIG = Data("big", 100_000, 20_000, 0.0696, ("csr", "csc"))

FULL = Sizes(
    big=_BIG,
    small=Data("small", 2_638, 1_838, 0.0708, ("dense",)),
    rounds=3,
    plain=True,
    genes=40,
    sets=10,
    repeats=5,
    diffexp=((1_000, 7, 3), (10_000, 5, 1), (40_000, 3, 1), (50_000, 3, 1)),
    contiguous=(1_000, 10_000),
    rest=(1_000, 10_000),
    load_s=10.0,
    warm_s=3.0,
    popular=200,
    busy_s=12.0,
    busy_cells=50_000,
    many=(1, 10, 50),
    scale=(Data("ten", 10_000, 20_000, 0.0696, ("csr",)), _BIG, Data("million", 1_000_000, 20_000, 0.0696, ("csr",))),
    scale_sets=(1_000, 10_000, 50_000),
)

QUICK = Sizes(
    big=Data("big", 3_000, 2_000, 0.0708, ("csr",)),
    small=Data("small", 500, 300, 0.0708, ("dense",)),
    rounds=1,
    plain=False,
    genes=15,
    sets=4,
    repeats=3,
    diffexp=((100, 3, 2), (500, 3, 2), (1_500, 2, 1)),
    contiguous=(500,),
    rest=(100,),
    load_s=1.0,
    warm_s=0.5,
    popular=50,
    busy_s=1.0,
    busy_cells=1_500,
    many=(1, 5),
    scale=(Data("one", 1_000, 300, 0.0708, ("csr",)), Data("three", 3_000, 300, 0.0708, ("csr",))),
    scale_sets=(100, 1_000),
)
