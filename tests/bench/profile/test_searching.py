"""All contestants find the same, so their times can be compared."""

from __future__ import annotations

import numpy as np
import pytest

from clusterbench.bench.profile.searching import kmeans_contest, main, neighbour_contest, race, vectors


def test_vectors_have_unit_length_and_lie_in_groups() -> None:
    points = vectors(200, 32)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-6)
    similarities = np.sort((points @ points.T)[np.triu_indices(200, 1)])
    assert similarities[-100] > 0.6 > 0.1 > similarities[len(similarities) // 2]


def test_all_of_kmeans_end_at_the_same_centres() -> None:
    points = vectors(500, 16)
    first, *others = (each() for each in kmeans_contest(points, 5, 8, "cpu").values())
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-4)


def test_all_find_the_neighbours_of_a_full_sort() -> None:
    points = vectors(300, 16)
    expected = np.argsort(-(points.astype(np.float64) @ points.T.astype(np.float64)), axis=1)[:, :6]
    for contestant in neighbour_contest(points, 5, "cpu").values():
        found = contestant()
        assert [set(row) for row in found.tolist()] == [set(row) for row in expected.tolist()]


def test_race_keeps_what_was_found() -> None:
    found = race({"one": lambda: np.ones(2), "two": lambda: np.zeros(2)}, 2, "cpu")
    assert found["one"][1].sum() == 2 and found["two"][1].sum() == 0
    assert all(seconds >= 0 for seconds, _ in found.values())


def test_command_prints_both_races(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--images", "200", "--dimensions", "8", "--iterations", "3", "--turns", "1", "--neighbours", "4", "--threads", "1"])
    shown = capsys.readouterr().out
    assert "k-means, 10 clusters" in shown and "neighbours, 4 of each" in shown and shown.count("times the first") == 7
