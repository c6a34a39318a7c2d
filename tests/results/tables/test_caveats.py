"""Caveats: each belongs to published numbers that exist, and to no others."""

from __future__ import annotations

import pytest

from clusterbench.results.published import published
from clusterbench.results.tables.caveats import Caveat, caveats, every_caveat, sentence


@pytest.mark.parametrize("caveat", every_caveat(), ids=lambda caveat: caveat.text[:50])
def test_a_caveat_belongs_to_a_published_number_with_every_value_that_it_names(caveat: Caveat) -> None:
    numbers = [number for number in published() if caveat.belongs_to(number)]
    for field, values in caveat.of.items():
        assert {getattr(number, field) for number in numbers} == set(values)


@pytest.mark.parametrize("caveat", every_caveat(), ids=lambda caveat: caveat.text[:50])
def test_a_caveat_is_whole_sentences(caveat: Caveat) -> None:
    assert caveat.text[0].isupper() or caveat.text.startswith("k-means")
    assert caveat.text.endswith(".")
    assert "\n" not in caveat.text


def test_no_caveat_is_written_twice() -> None:
    placed = [(caveat.text, tuple(sorted(caveat.of.items()))) for caveat in every_caveat()]
    assert len(set(placed)) == len(placed)


def test_remarks_of_the_file_come_first() -> None:
    (number,) = published(table=1, system="DEC", dataset="stl10")
    assert caveats(number)[0] == "Kmeans-based."
    assert "HOG" in caveats(number)[1]


def test_a_number_is_told_nothing_of_its_neighbour() -> None:
    (mnist,) = published(table=1, system="DEC", dataset="mnist")
    assert not any("HOG" in text for text in caveats(mnist))


@pytest.mark.parametrize(
    ("note", "told"),
    [("needs k-means", "Needs k-means."), ("cifar100-20 run by them", "cifar100-20 run by them."), ("Whole.", "Whole.")],
)
def test_a_remark_becomes_a_sentence(note: str, told: str) -> None:
    assert sentence(note) == told
