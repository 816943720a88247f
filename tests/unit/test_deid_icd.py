"""The ranges of ICD-10: what everybody knows of them, and that they fit into each other without a gap that a code could fall through."""

from __future__ import annotations

import itertools

import pytest

from pumasi.deid.icd import BLOCKS, CHAPTERS


@pytest.mark.parametrize(
    ("code", "block", "chapter"),
    [
        ("A00", "A00-A09", "A00-B99"), ("B99", "B99-B99", "A00-B99"), ("C50", "C50-C50", "C00-D49"), ("D50", "D50-D53", "D50-D89"),
        ("E11", "E10-E14", "E00-E90"), ("F00", "F00-F09", "F00-F99"), ("G00", "G00-G09", "G00-G99"), ("H00", "H00-H06", "H00-H59"),
        ("H60", "H60-H62", "H60-H95"), ("I10", "I10-I15", "I00-I99"), ("J45", "J40-J47", "J00-J99"), ("K35", "K35-K38", "K00-K95"),
        ("N18", "N17-N19", "N00-N99"), ("O80", "O80-O84", "O00-O99"), ("P07", "P05-P08", "P00-P96"), ("Q90", "Q90-Q99", "Q00-Q99"),
        ("R05", "R00-R09", "R00-R99"), ("S72", "S70-S79", "S00-T98"), ("Z99", "Z80-Z99", "Z00-Z99"),
    ],
)  # fmt: skip
def test_well_known_codes_lie_where_they_do(code: str, block: str, chapter: str) -> None:
    for ranges, wanted in ((BLOCKS, block), (CHAPTERS, chapter)):
        assert [f"{low}-{high}" for low, high in ranges if low <= code <= high] == [wanted]


def test_blocks_lie_in_one_chapter_each_and_overlap_nowhere() -> None:
    for ranges in (BLOCKS, CHAPTERS):
        assert all(low <= high for low, high in ranges)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(sorted(ranges)))
    for low, high in BLOCKS:
        assert sum(first <= low and high <= last for first, last in CHAPTERS) == 1, (low, high)
