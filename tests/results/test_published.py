"""The published numbers: all of them are there, as printed."""

from __future__ import annotations

import csv
from importlib.resources import files

import pytest

from clusterbench.results.published import METHODS, published

TABLE_1 = {
    "Random network": "random", "K-means": "kmeans", "Spectral clustering": "spectral", "Triplets": "triplets", "AE": "ae",
    "Sparse AE": "sparse-ae", "Denoising AE": "denoising-ae", "Variational Bayes AE": "vae", "SWWAE": "swwae", "GAN": "gan",
    "JULE": "jule", "DEC": "dec", "DAC": "dac", "DeepCluster": "deepcluster", "ADC": "adc", "IIC": "iic",
}  # fmt: skip


def test_every_line_of_the_file_is_reachable() -> None:
    with files("clusterbench.results").joinpath("published.csv").open(encoding="utf-8") as file:
        lines = list(csv.reader(file))[1:]
    reached = [
        (row.source, row.table, row.system, row.dataset, row.metric, row.text, row.std_text, row.aggregate, row.note)
        for row in published()
    ]
    assert len(lines) == 163 and reached == [tuple(line) for line in lines]


def test_table_1_has_the_papers_rows_in_the_papers_order() -> None:
    assert list(dict.fromkeys(row.system for row in published(table=1))) == list(TABLE_1)
    assert {row.system: row.method for row in published(table=1)} == TABLE_1


def test_table_1_is_whole() -> None:
    """Sixteen systems, IIC twice, on four data sets."""
    assert len(published(table=1)) == 17 * 4
    assert {row.dataset for row in published(table=1)} == {"stl10", "cifar10", "cifar100-20", "mnist"}


@pytest.mark.parametrize(("dataset", "lowest_loss", "average", "spread"), [
    ("stl10", 59.6, 59.8, 0.844), ("cifar10", 61.7, 57.6, 5.01), ("cifar100-20", 25.7, 25.5, 0.462), ("mnist", 99.2, 98.4, 0.652),
])  # fmt: skip
def test_the_two_numbers_of_iic_are_kept_apart(dataset: str, lowest_loss: float, average: float, spread: float) -> None:
    one, other = published(table=1, system="IIC", dataset=dataset)
    assert (one.aggregate, one.value, one.std) == ("lowest-loss sub-head", lowest_loss, None)
    assert (other.aggregate, other.value, other.std) == ("average of sub-heads", average, spread)


def test_systems_beyond_table_1_are_known_by_their_own_protocol() -> None:
    assert {row.method for row in published(system="SCAN")} == {"scan"}
    assert {row.method for row in published(system="IMC-SwAV")} == {"imc-swav"}
    assert {row.protocol for row in published(system="SCAN")} == {"split"}
    assert {row.protocol for row in published(table=1)} == {"full"}


def test_a_printed_number_keeps_its_digits() -> None:
    (row,) = published(table=1, system="K-means", dataset="cifar100-20")
    assert (row.text, row.value) == ("13.0", 13.0)


def test_every_method_name_belongs_to_a_published_system() -> None:
    assert set(METHODS) <= {row.system for row in published()}


def test_a_system_without_a_method_here_says_so() -> None:
    assert {row.method for row in published(table=3, system="Dundar 2015")} == {None}


def test_each_number_has_the_protocol_of_its_paper() -> None:
    assert {row.protocol for row in published(table=3)} == {"semi-supervised"}
    assert {row.protocol for row in published(table=1)} == {"full"}
    assert {row.protocol for row in published(system="SCAN")} == {"split"}


def test_notes_come_one_by_one() -> None:
    (row,) = published(table=1, system="DeepCluster", dataset="mnist")
    assert row.notes == ("kmeans-based", "needs k-means", "run by the IIC authors with the original code")
