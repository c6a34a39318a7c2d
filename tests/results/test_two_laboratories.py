"""The same spec run by two laboratories is shown side by side, in the leaderboard and in the cell of a table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clusterbench.results.leaderboard import leaderboard
from clusterbench.results.record import Record
from clusterbench.results.tables import tables

MakeRecord = Callable[..., Record]
OXFORD = {"lab": "oxford", "bundle": "o.tar.gz", "sha256": "0" * 64, "imported": "2025-06-01T10:00:00.000+00:00"}


@pytest.fixture
def records(make_record: MakeRecord) -> list[Record]:
    """K-means on mnist: three seeds of ours around 53 %, three of Oxford's around 57 %."""
    ours = [make_record("kmeans", seed=seed, acc=0.53 + seed / 1000) for seed in range(3)]
    return ours + [make_record("kmeans", seed=seed, acc=0.57 + seed / 1000, origin=OXFORD) for seed in range(3)]


def kmeans_on_mnist(records: list[Record]) -> list[str]:
    """The lines of the cell that are not published numbers."""
    (table, *_) = tables(records, [1])
    row = next(row for row in table.rows if row.cells[0][0].text == "K-means")
    return [line.text for line in row.cells[table.columns.index("mnist")] if line.role == "ours"]


def test_a_cell_has_both_ours_first(records: list[Record]) -> None:
    assert kmeans_on_mnist(records) == ["ours 53.1 ± 0.1", "lab oxford: 57.1 ± 0.1"]


def test_a_cell_that_only_others_filled_is_not_called_ours(records: list[Record]) -> None:
    assert kmeans_on_mnist(records[3:]) == ["lab oxford: 57.1 ± 0.1"]


def test_another_setting_of_another_laboratory_stays_out_of_the_cell(records: list[Record], make_record: MakeRecord) -> None:
    other = make_record("kmeans", config={"epochs": 9}, origin=OXFORD)
    assert kmeans_on_mnist([*records[:3], other]) == ["ours 53.1 ± 0.1"]
    (table, *_) = tables([*records[:3], other], [1])
    assert any("are not in this cell: paper, full, n=1 (lab oxford)." in note for note in table.footnotes)


def test_the_leaderboard_has_a_row_for_each_and_names_the_other(records: list[Record]) -> None:
    table = leaderboard(records)
    assert [row.cells[0][0].text for row in table.rows] == ["kmeans (lab oxford)", "kmeans"]
    assert [(fact["lab"], fact["n"], fact["acc"]) for fact in table.facts] == [("oxford", 3, 57.1), (None, 3, 53.1)]
