"""Pairs that a user made: what they are trained on must be exactly what was given, and nothing between them is mixed up."""

import numpy as np
import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.pairs import GivenViews, Pairs
from clusterbench.methods.kit.randomness import generator


def test_every_sample_meets_its_own_partners_and_each_of_them_once() -> None:
    samples = np.arange(12.0).reshape(6, 2)
    partners = samples[:, None] + np.array([100.0, 200.0, 300.0])[None, :, None]  # (6, 3, 2)
    pairs = Pairs.of(samples, partners)
    (batch,) = pairs.batches((torch.tensor([4, 0, 5]),))
    views = GivenViews(pairs.shape)
    first = views.original(batch, generator("cpu", 0))
    np.testing.assert_array_equal(first, samples[[4, 0, 5]])
    for repeats in (1, 2, 3):
        copies = views.copies(batch, repeats, generator("cpu", repeats))
        offsets = copies.view(repeats, 3, 2) - first  # all first copies, then all second ones
        assert set(offsets.unique().tolist()) <= {100.0, 200.0, 300.0}
        assert all(len(set(offsets[:, sample, 0].tolist())) == repeats for sample in range(3))


def test_several_partners_are_drawn_equally_often() -> None:
    pairs = Pairs.of(np.zeros((4000, 1)), np.tile(np.arange(4.0)[None, :, None], (4000, 1, 1)))
    (batch,) = pairs.batches(pairs.order("main", 4000))
    drawn = GivenViews(pairs.shape).copies(batch, 2, generator("cpu", 0)).flatten()
    counts = drawn.long().bincount(minlength=4)
    assert all(abs(count - 2000) < 150 for count in counts.tolist())  # 150 is nearly five standard deviations


def test_a_function_makes_new_partners_of_every_copy_from_the_given_generator() -> None:
    def noisy(samples: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        return samples + torch.rand(samples.shape, generator=random)

    pairs = Pairs.of(np.zeros((5, 3)), noisy)
    (batch,) = pairs.batches(pairs.order("main", 5))
    views = GivenViews(pairs.shape, pairs.partner)
    copies = views.copies(batch, 2, generator("cpu", 1))
    assert copies.shape == (10, 3)
    assert len(copies.unique()) == 30
    torch.testing.assert_close(copies, views.copies(batch, 2, generator("cpu", 1)))


def test_a_pass_over_pairs_visits_every_sample_once() -> None:
    pairs = Pairs.of(np.arange(10.0)[:, None])
    stored = pairs.order("main", 4)
    assert [len(part) for part in stored] == [4, 4, 2] and torch.equal(torch.cat(stored), torch.arange(10))
    shuffled = torch.cat(pairs.order("main", 4, generator("cpu", 0)))
    assert not torch.equal(shuffled, torch.arange(10)) and torch.equal(shuffled.sort().values, torch.arange(10))


@pytest.mark.parametrize(
    ("samples", "partners", "message"),
    [
        (np.zeros(5), None, r"samples must be of shape \(N, D\) or \(N, C, S, S\), got \(5,\)"),
        (np.zeros((5, 3, 4, 6)), None, "samples must be of shape"),
        (np.zeros((0, 3)), None, "samples must be of shape"),
        ([["a", "b"]], None, "samples must be an array of numbers"),
        (np.array([[1.0, np.nan]]), None, "samples must be finite"),
        (np.zeros((5, 3)), np.zeros((4, 3)), r"partners of samples \(5, 3\) must have the same shape.*got \(4, 3\)"),
        (np.zeros((5, 3)), np.zeros((5, 2, 4)), "partners of samples"),
        (np.zeros((5, 3)), np.full((5, 3), np.inf), "partners must be finite"),
    ],
)
def test_arrays_that_are_no_pairs_are_refused(samples: object, partners: object, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        Pairs.of(samples, partners)


def test_a_function_that_changes_the_shape_is_refused() -> None:
    pairs = Pairs.of(np.zeros((5, 3)), lambda samples, random: samples[:, :2])
    (batch,) = pairs.batches(pairs.order("main", 5))
    with pytest.raises(MethodError, match=r"samples \(5, 3\) came as \(5, 2\)"):
        GivenViews(pairs.shape, pairs.partner).copies(batch, 1, generator("cpu", 0))


def test_more_repeats_than_partners_are_refused_with_the_way_out() -> None:
    pairs = Pairs.of(np.zeros((5, 3)), np.zeros((5, 2, 3)))
    (batch,) = pairs.batches(pairs.order("main", 5))
    with pytest.raises(MethodError, match="repeats=5 needs as many partners of every sample, got 2; set repeats=2"):
        GivenViews(pairs.shape).copies(batch, 5, generator("cpu", 0))
