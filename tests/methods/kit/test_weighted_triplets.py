"""The triplets of a batch, their loss and the order of images, against loops."""

from itertools import combinations

import pytest
import torch

from clusterbench.methods.kit.weighted_triplets import draw_triplets, grouped_order, weighted_triplet_loss

LABELS = torch.tensor([3, 0, 3, 1, 0, 3, 2, 7])


def drawn(labels: torch.Tensor, negatives: int, seed: int = 0) -> torch.Tensor:
    return draw_triplets(labels, negatives, torch.Generator().manual_seed(seed))


def test_every_pair_of_a_cluster_meets_as_many_images_of_others_without_repeats() -> None:
    pairs = {(a, p) for a, p in combinations(range(8), 2) if LABELS[a] == LABELS[p]}
    triplets = drawn(LABELS, 3).tolist()
    assert {(a, p) for a, p, _ in triplets} == pairs and len(triplets) == 3 * len(pairs) == len(set(map(tuple, triplets)))
    assert all(LABELS[n] != LABELS[a] for a, _, n in triplets)


def test_all_images_of_other_clusters_are_taken_where_there_are_fewer() -> None:
    triplets = drawn(LABELS, 20).tolist()
    wanted = [
        (a, p, n) for a, p in combinations(range(8), 2) if LABELS[a] == LABELS[p] for n in range(8) if LABELS[n] != LABELS[a]
    ]
    assert sorted(map(tuple, triplets)) == wanted


def test_negatives_are_drawn_evenly() -> None:
    triplets = torch.cat([drawn(LABELS, 2, seed) for seed in range(300)])
    chosen = torch.bincount(triplets[triplets[:, 0] == 1][:, 2], minlength=8)  # of the pair of images 1 and 4
    assert chosen[[1, 4]].tolist() == [0, 0] and chosen[[0, 2, 3, 5, 6, 7]].min() > 60  # 100 expected of each


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 0]])
def test_batches_without_triplets_lose_nothing_and_pull_nowhere(labels: list[int]) -> None:
    features = torch.randn(len(labels), 5, requires_grad=True)
    loss = weighted_triplet_loss(features, drawn(torch.tensor(labels), 4), 1.0, 0.2)
    loss.backward()
    assert loss.item() == 0 and features.grad is not None and not features.grad.any()


@pytest.mark.parametrize(("gamma", "margin"), [(1.0, 0.2), (1.7, 0.6)])
def test_the_loss_is_the_mean_hinge_of_the_triplets(gamma: float, margin: float) -> None:
    features = torch.nn.functional.normalize(torch.randn(8, 3, dtype=torch.float64), dim=1)
    triplets = drawn(LABELS, 4)
    hinges = []
    for a, p, n in triplets.tolist():
        near, far = (features[a] - features[p]).square().sum(), (features[a] - features[n]).square().sum()
        hinges.append(max(0.0, (gamma * near - far + margin).item()))
    assert 0 < sum(map(bool, hinges)) < len(hinges)
    assert weighted_triplet_loss(features, triplets, gamma, margin).item() == pytest.approx(sum(hinges) / len(hinges))


def test_its_gradient_is_that_of_finite_differences() -> None:
    inputs, triplets = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), drawn(LABELS, 3)

    def loss(raw: torch.Tensor) -> torch.Tensor:
        return weighted_triplet_loss(torch.nn.functional.normalize(raw, dim=1), triplets, 1.5, 0.3)

    assert torch.autograd.gradcheck(loss, inputs.requires_grad_())


def test_grouped_images_of_a_cluster_follow_each_other_and_each_comes_once() -> None:
    labels = torch.randint(0, 9, (203,), generator=torch.Generator().manual_seed(0)) * 3
    order = grouped_order(labels, 4, torch.Generator().manual_seed(1))
    assert order.sort().values.tolist() == list(range(203))
    values, runs = labels[order].unique_consecutive(return_counts=True)
    wanted = sum(-(-int((labels == label).sum()) // 4) for label in labels.unique())
    # Runs of more than 4 are groups of the same cluster that happen to meet.
    assert sum(-(-int(run) // 4) for run in runs) <= wanted and runs.float().mean() > 3
    assert len(set(values[:12].tolist())) > 4, "the groups are not sorted by cluster"


def test_which_images_stay_together_is_drawn_anew() -> None:
    labels = torch.zeros(40, dtype=torch.int64)
    one, other = (grouped_order(labels, 5, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    groups = [{frozenset(group.tolist()) for group in order.split(5)} for order in (one, other)]
    assert groups[0] != groups[1]
