"""Merging on the sparse graph, step by step against dense matrices that are computed by loops from the definitions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import sparse

from clusterbench.methods.kit.agglomeration import AgglomerationSettings, Merger, directed_affinity, merged, merged_to
from clusterbench.methods.kit.neighbour_graph import NeighbourGraph, chains, neighbour_graph


def unit_vectors(count: int, seed: int, dimensions: int = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dimensions, generator=random), dim=1)


def dense_affinity(weights: np.ndarray, clusters: list[list[int]]) -> np.ndarray:
    """A(a, b): over the images of b, the weights into a times those from a."""
    found = np.zeros((len(clusters), len(clusters)))
    for a, of_a in enumerate(clusters):
        for b, of_b in enumerate(clusters):
            if a != b and of_a and of_b:
                found[a, b] = sum(sum(weights[m, n] for n in of_a) * sum(weights[n, m] for n in of_a) for m in of_b)
    return found


class DenseMerger:
    """The authors' way: full matrices, and every cluster compared with all others at every step."""

    def __init__(self, weights: np.ndarray, labels: np.ndarray, settings: AgglomerationSettings) -> None:
        self.weights, self.settings = weights, settings
        self.clusters = [np.flatnonzero(labels == cluster).tolist() for cluster in range(labels.max() + 1)]
        self.directed = dense_affinity(weights, self.clusters)

    @property
    def affinity(self) -> np.ndarray:
        sizes = np.array([max(len(cluster), 1) for cluster in self.clusters], float)
        return self.directed / sizes[:, None] ** 2 + self.directed.T / sizes[None] ** 2

    def best(self) -> tuple[int, int]:
        affinity, alive = self.affinity, sum(map(bool, self.clusters))
        ranked = -np.sort(-affinity, axis=1)
        score = ranked[:, 0].copy()
        if alive > self.settings.gap_above:
            for k in range(1, self.settings.local):
                score += self.settings.gap_weight * (ranked[:, 0] - ranked[:, k]) / (self.settings.local - 1)
        cluster = int(score.argmax())
        partner = int(affinity[cluster].argmax())
        return min(cluster, partner), max(cluster, partner)

    def merge(self, a: int, b: int) -> None:
        self.clusters[a], self.clusters[b] = self.clusters[a] + self.clusters[b], []
        if self.settings.update == "exact":
            self.directed = dense_affinity(self.weights, self.clusters)
            return
        self.directed[:, a] += self.directed[:, b]
        self.directed[a] += self.directed[b]
        self.directed[a, a] = 0
        self.directed[b] = self.directed[:, b] = 0


@pytest.mark.parametrize("update", ["fast", "exact"])
@pytest.mark.parametrize(("seed", "gap_above"), [(0, 6), (1, 0), (2, 1000)])
def test_every_merger_is_that_of_the_dense_matrices(update: str, seed: int, gap_above: int) -> None:
    settings = AgglomerationSettings(update=update, gap_above=gap_above, local=4, gap_weight=0.7)
    graph = neighbour_graph(unit_vectors(70, seed), 7)
    labels = chains(graph.nearest)
    sparsely, densely = Merger(graph.weights, labels, settings), DenseMerger(graph.weights.toarray(), labels, settings)
    assert sparsely.alive > 12
    while (pair := sparsely.best()) is not None:
        assert pair == densely.best()
        sparsely.merge(*pair)
        densely.merge(*pair)
        found = np.zeros_like(densely.directed)
        for cluster, near in enumerate(sparsely.affinity):
            found[cluster, list(near)] = list(near.values())
        np.testing.assert_allclose(found, densely.affinity, rtol=1e-9, atol=1e-12)
    assert not densely.affinity.any() and sparsely.alive == sum(map(bool, densely.clusters))
    together = [sorted(np.flatnonzero(sparsely.roots()[labels] == root).tolist()) for root in range(sparsely.alive)]
    assert sorted(together) == sorted(sorted(cluster) for cluster in densely.clusters if cluster)


def test_exact_and_fast_updates_differ_only_in_what_a_merged_cluster_is_to_others() -> None:
    weights = sparse.csr_array(np.array([[0, 0, 0.5], [0, 0, 0.25], [1.0, 0.75, 0]]))
    found = {}
    for update in ("fast", "exact"):
        merger = Merger(weights, np.arange(3), AgglomerationSettings(update=update))
        merger.merge(0, 1)
        found[update] = merger.affinity[0][2]
    there, back = {"fast": 1 * 0.5 + 0.75 * 0.25, "exact": (1 + 0.75) * (0.5 + 0.25)}, 0.5 * 1 + 0.25 * 0.75
    assert found == pytest.approx({update: there[update] / 4 + back for update in there})


def test_affinities_of_clusters_are_sums_of_products() -> None:
    graph, random = neighbour_graph(unit_vectors(40, 3), 6), np.random.default_rng(0)
    labels = random.permutation(np.arange(40) % 7)
    wanted = dense_affinity(graph.weights.toarray(), [np.flatnonzero(labels == cluster).tolist() for cluster in range(7)])
    np.testing.assert_allclose(directed_affinity(graph.weights, labels).toarray(), wanted, rtol=1e-9)


def test_a_round_merges_its_share_and_the_last_one_what_is_left() -> None:
    features, settings = unit_vectors(300, 4), AgglomerationSettings(share=0.5)
    graph = neighbour_graph(features, 20)
    labels, counts = chains(graph.nearest), []
    while labels.max() >= 3:
        counts.append(labels.max() + 1)
        labels = merged(graph, features.numpy(), labels, 3, settings)
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert labels.max() + 1 == max(counts[-1] - np.ceil(0.5 * counts[-1]), 3)
    assert len(counts) >= 4
    assert np.array_equal(merged_to(graph, features.numpy(), chains(graph.nearest), 3, settings), labels)
    assert np.array_equal(merged(graph, features.numpy(), labels, 3, settings), labels), "what is merged stays so"


def test_few_clusters_without_affinity_join_the_nearest_mean_the_smallest_first() -> None:
    features = torch.tensor([[1.0, 0.0], [0.99, 0.01], [0.9, 0.1], [0.0, 1.0], [0.05, 0.95], [-1.0, 0.0]]).numpy()
    graph = NeighbourGraph(sparse.csr_array((6, 6)), np.array([1, 0, 1, 4, 3, 4]))
    labels = np.array([0, 0, 1, 2, 2, 3])
    assert merged_to(graph, features, labels, 3, AgglomerationSettings()).tolist() == [0, 0, 0, 1, 1, 2]
    assert merged_to(graph, features, labels, 2, AgglomerationSettings()).tolist() == [0, 0, 0, 1, 1, 1]


def test_of_many_clusters_those_without_affinity_join_the_nearest_before_any_pair_merges() -> None:
    features = unit_vectors(90, 5, dimensions=8)
    full = neighbour_graph(features, 4)
    strange = np.arange(90) < 10
    weights = full.weights.toarray()
    weights[strange] = weights[:, strange] = 0
    graph = NeighbourGraph(sparse.csr_array(weights), full.nearest)
    alone = np.arange(90)
    labels = merged(graph, features.numpy(), alone, 2, AgglomerationSettings(share=0.01))
    distances = torch.cdist(features, features).fill_diagonal_(torch.inf)
    for image in np.flatnonzero(strange):
        assert labels[image] == labels[distances[image].argmin()]
    few = merged(graph, features.numpy(), alone, 5, AgglomerationSettings(share=0.01))
    assert few.max() + 1 == 89, "with fewer clusters for each wanted one nothing but one pair merges"
    always = AgglomerationSettings(share=0.01, strangers_above=1)
    assert np.array_equal(merged(graph, features.numpy(), alone, 5, always), labels)


def test_strangers_never_join_below_the_wanted_number() -> None:
    features = unit_vectors(12, 11)
    graph = NeighbourGraph(sparse.csr_array((12, 12)), np.zeros(12, np.int64))
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 5, 5])
    found = merged(graph, features.numpy(), labels, 4, AgglomerationSettings(strangers_above=1))
    assert found.max() + 1 == 4
    kept = [found[labels == cluster] for cluster in (0, 1, 4, 5)]
    assert len({int(cluster[0]) for cluster in kept}) == 4, "of six strangers the two smallest join others"


def test_clusters_far_below_the_mean_size_join_the_nearest_mean_if_that_is_asked_for() -> None:
    labels = np.array([0] * 6 + [1] * 6 + [2] * 6 + [3] * 6 + [4])
    features = np.eye(4, dtype=np.float32)[[*labels[:24], 2]]
    weights = np.zeros((25, 25))
    weights[:6, 6:12] = weights[6:12, :6] = 0.9  # clusters 0 and 1 are close,
    weights[24, 18] = weights[18, 24] = 0.1  # and the lone image has a little affinity to cluster 3
    graph = NeighbourGraph(sparse.csr_array(weights), np.zeros(25, np.int64))
    found = {
        smallest: merged(graph, features, labels, 4, AgglomerationSettings(smallest=smallest, gap_above=0)).tolist()
        for smallest in (0.0, 0.19, 0.21)
    }
    pair_merged, lone_joined = [*[0] * 12, *[1] * 6, *[2] * 6, 3], [*labels[:24], 2]
    assert found == {0.0: pair_merged, 0.19: pair_merged, 0.21: lone_joined}, "the mean size is 5"


def blobs(seed: int) -> tuple[torch.Tensor, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.permutation(np.repeat(np.arange(5), 40))
    centres = np.eye(5, 8)
    points = torch.from_numpy(centres[truth] + random.normal(0, 0.08, (200, 8))).float()
    return torch.nn.functional.normalize(points, dim=1), truth


@pytest.mark.parametrize("update", ["fast", "exact"])
def test_it_finds_clusters_that_lie_apart(update: str) -> None:
    features, truth = blobs(0)
    graph = neighbour_graph(features, 20)
    labels = merged_to(graph, features.numpy(), chains(graph.nearest), 5, AgglomerationSettings(update=update))
    assert len(set(zip(labels.tolist(), truth.tolist(), strict=True))) == 5


def by_walking(nearest: np.ndarray) -> list[set[int]]:
    """The chains by following every link in turn."""
    of: dict[int, int] = {}
    for start in range(len(nearest)):
        path, at = [], start
        while at not in of and at not in path:
            path.append(at)
            at = int(nearest[at])
        name = of.get(at, at)
        of.update(dict.fromkeys(path, name))
    return sorted(({image for image in of if of[image] == name} for name in set(of.values())), key=min)


def test_chains_are_what_links_to_the_nearest_hold_together() -> None:
    graph = neighbour_graph(unit_vectors(120, 6), 3)
    labels = chains(graph.nearest)
    found = sorted((set(np.flatnonzero(labels == cluster).tolist()) for cluster in range(labels.max() + 1)), key=min)
    assert found == by_walking(graph.nearest) and 20 < len(found) < 61


def with_twins() -> torch.Tensor:
    points = unit_vectors(30, 7)
    return torch.cat([points, points[:5], points[:5]])


@pytest.mark.parametrize("points", [lambda: unit_vectors(50, 8), with_twins])
def test_weights_fall_with_the_squared_distance_to_the_nearest_ones(points: Callable[[], torch.Tensor]) -> None:
    features = points()
    n, weights = len(features), neighbour_graph(features, 6).weights.toarray()
    squared = np.square(features.double().numpy()[:, None] - features.double().numpy()[None]).sum(2)
    np.fill_diagonal(squared, np.inf)
    nearest = np.sort(squared, axis=1)[:, :6]
    assert np.count_nonzero(weights) == 6 * n and not weights.diagonal().any()
    np.testing.assert_allclose(-np.sort(-weights, axis=1)[:, :6], np.exp(-nearest / nearest.mean()), atol=1e-5)


def test_a_graph_of_few_images_joins_all() -> None:
    weights = neighbour_graph(unit_vectors(4, 9), 20).weights.toarray()
    assert np.array_equal(weights > 0, ~np.eye(4, dtype=bool))


def test_modularity_is_newmans() -> None:
    from clusterbench.methods.kit.neighbour_graph import modularity

    graph, labels = neighbour_graph(unit_vectors(30, 10), 5), np.arange(30) % 4
    undirected = graph.weights.toarray() + graph.weights.toarray().T
    degree, total = undirected.sum(1), undirected.sum()
    pairs = [(i, j) for i in range(30) for j in range(30) if labels[i] == labels[j]]
    wanted = sum(undirected[i, j] / total - degree[i] * degree[j] / total**2 for i, j in pairs)
    assert modularity(graph, labels) == pytest.approx(wanted)
    assert modularity(graph, np.zeros(30, int)) == pytest.approx(0)
