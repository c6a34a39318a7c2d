"""Neighbours, self-tuning affinity, pieces, eigenvectors and cuts against dense references and loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import subspace_angles
from scipy.spatial.distance import cdist

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit import euclidean, spectral_embedding
from clusterbench.methods.kit.euclidean import nearest
from clusterbench.methods.kit.self_tuning import normalised_cut, pieces_of, self_tuning_affinity, without_self
from clusterbench.methods.kit.spectral_embedding import largest_eigenpairs, normalised
from clusterbench.methods.kit.spectral_embedding import spectral_embedding as embed

RANDOM = np.random.default_rng(0)


def points(count: int, dimension: int = 5) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, dimension)).astype(np.float32)


def found(queries: np.ndarray, references: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    parts = [*nearest(queries, references, count)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def graph_of(vectors: np.ndarray, neighbours: int, scale: int = 3) -> sparse.csr_array:
    return self_tuning_affinity(*without_self(*found(vectors, vectors, neighbours + 1)), scale)


def blocks(*sizes: int) -> sparse.csr_array:
    """Pieces without an affinity between them, each with random affinities between all of its images."""
    parts = []
    for size in sizes:
        inside = RANDOM.uniform(0.1, 1, (size, size))
        parts.append(np.triu(inside, 1) + np.triu(inside, 1).T)
    return sparse.csr_array(sparse.block_diag(parts))


def test_the_nearest_are_those_of_scipys_distances_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(euclidean, "QUERIES", 7)
    monkeypatch.setattr(euclidean, "GATHERED", 40)
    queries, references = points(23), points(50)
    distances, neighbours = found(queries, references, 6)
    exact = cdist(queries.astype(np.float64), references.astype(np.float64))
    np.testing.assert_array_equal(neighbours, exact.argsort(1)[:, :6])
    np.testing.assert_allclose(distances, np.sort(exact, 1)[:, :6], rtol=1e-5)


def test_the_search_of_a_gpu_finds_what_that_of_a_cpu_finds() -> None:
    queries, references = points(23), points(50)
    blocks = euclidean._Blocks(references, "cpu")(queries, 6)
    np.testing.assert_array_equal(euclidean._in_order(queries, references, blocks)[1], found(queries, references, 6)[1])


def test_equal_vectors_are_at_distance_zero_however_large_they_are() -> None:
    vectors = 1e4 + points(30)
    distances, neighbours = found(vectors, vectors, 1)
    assert (distances == 0).all() and (neighbours[:, 0] == np.arange(30)).all()


def test_more_nearest_than_there_are_is_refused() -> None:
    with pytest.raises(MethodError, match="51 nearest images were asked for among 50"):
        next(nearest(points(3), points(50), 51))


def test_an_image_is_not_its_own_neighbour_even_among_many_copies() -> None:
    vectors = np.concatenate([np.zeros((6, 3), np.float32), points(4, 3)])
    distances, neighbours = without_self(*found(vectors, vectors, 4))
    assert neighbours.shape == distances.shape == (10, 3)
    assert not (neighbours == np.arange(10)[:, None]).any()
    assert (distances[:6] == 0).all()


def test_with_all_as_neighbours_the_affinity_is_the_papers_dense_matrix() -> None:
    vectors = points(40)
    squared = cdist(vectors.astype(np.float64), vectors.astype(np.float64)) ** 2
    scale = np.sqrt(np.sort(squared, 1)[:, 7])  # column 0 is the image itself
    dense = np.exp(-squared / np.outer(scale, scale))
    np.fill_diagonal(dense, 0)
    np.testing.assert_allclose(graph_of(vectors, 39, scale=7).toarray(), dense, rtol=1e-4)


def test_an_image_is_tied_to_its_neighbours_and_to_those_whose_neighbour_it_is() -> None:
    vectors = points(30)
    order = cdist(vectors, vectors).argsort(1)[:, 1:5]
    tied = np.zeros((30, 30), bool)
    for image, neighbours in enumerate(order):
        tied[image, neighbours] = tied[neighbours, image] = True
    affinity = graph_of(vectors, 4).toarray()
    np.testing.assert_array_equal(affinity > 0, tied)
    np.testing.assert_array_equal(affinity, affinity.T)


def test_copies_are_tied_to_copies_only() -> None:
    vectors = np.concatenate([np.zeros((5, 3), np.float32), 1 + points(10, 3)])
    affinity = graph_of(vectors, 4, scale=3).toarray()
    np.testing.assert_array_equal(affinity[:5, :5], 1 - np.eye(5))
    assert (affinity[:5, 5:] == 0).all() and np.isfinite(affinity).all()


def test_small_pieces_are_left_out_and_of_too_many_the_largest_are_kept() -> None:
    graph = blocks(4, 30, 2, 20)
    sizes = [(pieces_of(graph, smallest, 3) == piece).sum() for smallest in (5, 4, 3) for piece in (0, 1, 2, -1)]
    assert sizes == [30, 20, 0, 6, 30, 20, 4, 2, 30, 20, 4, 2]
    assert [(pieces_of(graph, 5, 1) == piece).sum() for piece in (0, -1)] == [30, 26]


def test_pieces_that_are_all_too_small_still_give_an_image_for_each_cluster() -> None:
    pieces = pieces_of(blocks(2, 3, 2, 2, 2), smallest=50, clusters=4)
    assert (pieces >= 0).sum() == 5 and pieces.max() == 1


@pytest.mark.parametrize("dense_up_to", [0, 1000])
def test_the_eigenvectors_of_a_connected_graph_are_a_dense_solvers(dense_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral_embedding, "DENSE", dense_up_to)
    matrix = normalised(graph_of(points(300), 12))
    values, vectors = np.linalg.eigh(matrix.toarray())
    ours, found_vectors = largest_eigenpairs(matrix, 6, RANDOM.uniform(size=300))
    np.testing.assert_allclose(ours, values[::-1][:6], atol=1e-9)
    assert np.abs(subspace_angles(found_vectors, vectors[:, -6:])).max() < 1e-6


@pytest.mark.parametrize("dense_up_to", [0, 1000])
def test_the_eigenvectors_of_a_graph_in_pieces_are_those_of_the_whole(dense_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral_embedding, "DENSE", dense_up_to)
    graph = blocks(40, 30, 20)
    pieces = np.repeat([0, 1, 2], [40, 30, 20])
    rows, eigenvalues = embed(graph, pieces, 6, RANDOM.uniform(size=90))
    degrees = graph.toarray().sum(1)
    values, vectors = np.linalg.eigh(graph.toarray() / np.sqrt(np.outer(degrees, degrees)))
    np.testing.assert_allclose(eigenvalues, values[::-1][:6], atol=1e-9)
    np.testing.assert_allclose(eigenvalues[:3], 1)
    lengths = np.linalg.norm(vectors[:, -6:], axis=1)
    dense = vectors[:, -6:] / lengths[:, None]
    np.testing.assert_allclose(rows @ rows.T, dense @ dense.T, atol=1e-6)  # the same points, up to a rotation


def test_images_outside_the_pieces_have_no_place() -> None:
    pieces = np.repeat([0, -1, 1], [12, 3, 10])
    rows, _ = embed(blocks(12, 3, 10), pieces, 4, RANDOM.uniform(size=25))
    assert (rows[12:15] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(rows[pieces >= 0], axis=1), 1)


def test_an_iteration_that_does_not_end_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise spectral_embedding.ArpackNoConvergence("%s", np.empty(0), np.empty(0))

    monkeypatch.setattr(spectral_embedding, "eigsh", never)
    with pytest.raises(MethodError, match="--set neighbours"):
        largest_eigenpairs(normalised(graph_of(points(300), 5)), 3, RANDOM.uniform(size=300))


def test_the_normalised_cut_is_that_of_a_loop_and_never_below_the_eigenvalues_bound() -> None:
    graph = graph_of(points(60), 8)
    _, eigenvalues = embed(graph, np.zeros(60, np.int64), 4, RANDOM.uniform(size=60))
    dense = graph.toarray()
    for labels in RANDOM.integers(0, 4, (20, 60)):
        loop = sum(dense[labels == k][:, labels != k].sum() / dense[labels == k].sum() for k in range(4))
        assert normalised_cut(graph, labels, 4) == pytest.approx(loop)
        assert loop >= 4 - eigenvalues.sum()


def test_the_cut_of_what_is_left_out_does_not_count() -> None:
    labels = np.repeat([0, 1, -1], [12, 10, 5])
    assert normalised_cut(blocks(12, 10, 5), labels, 3) == 0
