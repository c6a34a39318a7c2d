"""Pseudo-labels and how images are drawn by them, against brute force and the simulation of the authors' sampler."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.pseudo_labels import agreement, cluster, draw
from clusterbench.methods.kit.randomness import generator

SIZES = [500, 60, 30, 9, 1, 0, 0]  # two clusters are empty


def skewed() -> torch.Tensor:
    labels = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))
    return labels[torch.randperm(len(labels), generator=generator("cpu", 0))]


def entropy(labels: torch.Tensor, clusters: int) -> float:
    """Of the labels' frequencies, as a share of the largest possible."""
    shares = labels.bincount(minlength=clusters).double() / len(labels)
    return float(-torch.special.xlogy(shares, shares).sum() / np.log(clusters))


def test_separate_blobs_are_found_row_by_row() -> None:
    features, truth = make_blobs(300, 4, centers=np.eye(4) * 50, random_state=0)
    found = cluster(torch.from_numpy(features), 4, 20, seed=3)
    assert found.dtype == torch.int64
    best = max(adjusted_rand_score(truth, cluster(torch.from_numpy(features), 4, 20, seed=seed)) for seed in range(5))
    assert best == 1.0


def test_every_row_gets_its_nearest_centre_once_the_iterations_have_settled() -> None:
    features = torch.randn(200, 3, generator=generator("cpu", 1))
    labels = cluster(features, 6, 200, seed=0)
    centres = torch.stack([features[labels == number].double().mean(0) for number in range(6)])
    assert torch.equal(torch.cdist(features.double(), centres).argmin(1), labels)


def test_the_seed_decides_where_the_clustering_starts() -> None:
    features = torch.randn(300, 8, generator=generator("cpu", 2))
    first, again, other = (cluster(features, 20, 20, seed) for seed in (5, 5, 2**40 + 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_clusters_that_start_empty_are_refilled() -> None:
    same, spread = torch.zeros(500, 4), torch.randn(500, 4, generator=generator("cpu", 0)) * 10
    features = torch.cat([same, spread])  # about half of the 40 random starts are the same point, of which one gets its rows
    for seed in range(3):
        assert len(cluster(features, 40, 20, seed).unique()) >= 38


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(MethodError, match="9 images cannot fill 10 clusters of pseudo-labels; lower 'clusters'"):
        cluster(torch.randn(9, 2), 10, 20, seed=0)


def test_uniform_draws_show_every_filled_cluster_equally_often() -> None:
    labels = skewed()
    drawn = draw(labels, "uniform", generator("cpu", 1))
    counts = labels[drawn].bincount(minlength=len(SIZES))
    assert len(drawn) == len(labels) and counts[5:].sum() == 0
    each = len(labels) // 5 + 1  # 121, of which a few of all 605 are cut off
    assert counts[:5].max() <= each and counts[:5].min() >= each - 5


def test_uniform_draws_repeat_images_only_where_a_cluster_has_too_few() -> None:
    labels = skewed()
    drawn = draw(labels, "uniform", generator("cpu", 1))
    repeats = drawn.bincount(minlength=len(labels))
    assert repeats[labels == 0].max() == 1
    assert repeats[labels == 4].item() > 100
    assert len(drawn[labels[drawn] == 1].unique()) > 40  # with replacement: 60 * (1 - 1/e^2) = 52 are expected


def test_uniform_draws_reach_all_of_a_large_cluster_in_time() -> None:
    labels, seen = skewed(), set()
    for epoch in range(80):  # a fourth of it each time
        seen |= set(draw(labels, "uniform", generator("cpu", epoch)).tolist())
    assert seen == set(range(len(labels)))


def test_uniform_draws_are_mixed() -> None:
    shown = skewed()[draw(skewed(), "uniform", generator("cpu", 4))]
    first, second = (half.bincount(minlength=5).double() / len(half) for half in shown.chunk(2))
    assert (first - second).abs().max() < 0.1


def test_natural_draws_show_every_image_once() -> None:
    drawn = draw(skewed(), "natural", generator("cpu", 1))
    assert torch.equal(drawn.sort().values, torch.arange(600)) and not torch.equal(drawn, torch.arange(600))


def test_upstreams_draws_read_original_indices_off_a_list_grouped_by_cluster() -> None:
    labels = skewed()
    uniform, upstream = (draw(labels, sampling, generator("cpu", 1)) for sampling in ("uniform", "upstream"))
    grouped = [image for number in range(len(SIZES)) for image in range(600) if labels[image] == number]
    assert upstream.tolist() == [grouped[index] for index in uniform.tolist()]


def test_the_simulated_sampler_is_uniform_and_upstreams_is_not() -> None:
    weights = torch.exp(-torch.arange(50) / 10.0)
    labels = torch.multinomial(weights, 20_000, replacement=True, generator=generator("cpu", 3))
    shares = {name: entropy(labels[draw(labels, name, generator("cpu", 4))], 50) for name in ("natural", "uniform", "upstream")}
    assert shares["uniform"] > 0.99
    assert shares["upstream"] == pytest.approx(shares["natural"], abs=0.03) and shares["natural"] < 0.9


def test_agreement_is_the_mutual_information_over_the_mean_entropy_of_both() -> None:
    before, after = (torch.randint(0, 4, (500,), generator=generator("cpu", seed)) for seed in (0, 1))
    after = torch.where(torch.arange(500) < 250, before, after)
    joint = torch.zeros(4, 4, dtype=torch.float64)
    joint.index_put_((before, after), torch.ones(500, dtype=torch.float64), accumulate=True).div_(500)
    rows, columns = joint.sum(1), joint.sum(0)
    information = torch.special.xlogy(joint, joint / (rows[:, None] * columns)).sum()
    entropies = -torch.special.xlogy(rows, rows).sum() - torch.special.xlogy(columns, columns).sum()
    assert agreement(before, after) == pytest.approx(float(2 * information / entropies), rel=1e-9)
    assert agreement(before, (before + 1) % 4) == pytest.approx(1.0)
