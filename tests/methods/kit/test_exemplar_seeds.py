"""Exemplar-CNN's seed patches: gradient energy against numpy, where patches are drawn, and what is cut out for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from clusterbench.datasets.base import Images
from clusterbench.methods.kit.exemplar_seeds import Seeds, cut_contexts, draw_seeds, gradient_energy, place_weights
from clusterbench.methods.kit.randomness import generator


def pictures(count: int = 6, channels: int = 1, rows: int = 7, columns: int = 9) -> torch.Tensor:
    shape = (count, channels, rows, columns)
    return torch.randint(0, 256, shape, generator=generator("cpu", 0, *shape), dtype=torch.uint8)


def test_the_energy_is_that_of_numpys_gradient() -> None:
    images = pictures(2, 3).double() / 255
    for image, found in zip(images.numpy(), gradient_energy(images), strict=True):
        expected = sum(part**2 for channel in image for part in np.gradient(channel))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_squares_weight_is_the_mean_energy_in_it() -> None:
    energy = torch.rand(2, 5, 6, generator=generator("cpu", 1), dtype=torch.float64)
    found = place_weights(energy, 3, "proportional")
    assert found.shape == (2, 3, 4)
    for image in range(2):
        means = np.array([[energy[image, top : top + 3, left : left + 3].mean() for left in range(4)] for top in range(3)])
        np.testing.assert_allclose(found[image].numpy(), means, rtol=1e-12)
        threshold = place_weights(energy, 3, "threshold")[image].numpy()
        np.testing.assert_array_equal(threshold, means >= means.mean())
    assert torch.equal(place_weights(energy, 3, "uniform"), torch.ones(2, 3, 4, dtype=torch.float64))


@pytest.mark.parametrize("sampling", ["proportional", "threshold"])
def test_in_an_image_without_gradients_all_squares_are_alike(sampling: str) -> None:
    assert torch.equal(place_weights(torch.zeros(1, 4, 4), 2, sampling), torch.ones(1, 3, 3))  # pyright: ignore[reportArgumentType]


def test_patches_are_drawn_in_proportion_to_their_gradient_energy() -> None:
    one = pictures(1, rows=5, columns=5)
    images, draws = Images(one.expand(4000, -1, -1, -1)), 4000
    seeds = draw_seeds(images, "all", draws, [3], "proportional", generator("cpu", 2))
    weights = place_weights(gradient_energy(one.float() / 255), 3, "proportional").flatten().double()
    counts = torch.bincount(seeds.top * 3 + seeds.left, minlength=9)
    assert chisquare(counts.numpy(), (weights / weights.sum() * draws).numpy()).pvalue > 1e-3
    assert chisquare(counts.numpy()).pvalue < 1e-3, "the weights must differ enough to be told from none"


def test_patches_above_the_threshold_only_are_drawn_if_asked_for() -> None:
    images = Images(pictures(1, rows=5, columns=5).expand(500, -1, -1, -1))
    seeds = draw_seeds(images, "all", 500, [3], "threshold", generator("cpu", 2))
    allowed = place_weights(gradient_energy(images.pixels[:1].float()), 3, "threshold")[0]
    drawn = torch.bincount(seeds.top * 3 + seeds.left, minlength=9).view(3, 3)
    assert torch.equal(drawn > 0, allowed > 0) and 0 < int(allowed.sum()) < 9


def test_patches_come_from_different_images_of_the_role_at_several_sides_inside_of_them() -> None:
    images = Images(pictures(40), {"main": torch.arange(0, 40, 2)})
    few = draw_seeds(images, "main", 20, [3, 5], "proportional", generator("cpu", 3))
    assert few.image.sort().values.tolist() == list(range(0, 40, 2))
    many = draw_seeds(images, "main", 50, [3, 5], "proportional", generator("cpu", 3))
    assert set(torch.bincount(many.image).tolist()) == {0, 2, 3} and set(many.side.tolist()) == {3, 5}
    assert bool((many.top >= 0).all() and (many.top + many.side <= 7).all() and (many.left + many.side <= 9).all())
    again = draw_seeds(images, "main", 50, [3, 5], "proportional", generator("cpu", 3))
    assert all(torch.equal(a, b) for a, b in zip(many, again, strict=True))


def test_a_context_is_the_patch_with_the_mirrored_image_around_it() -> None:
    images = Images(pictures(3, 3))
    seeds = Seeds(torch.tensor([2, 0, 1]), torch.tensor([0, 3, 1]), torch.tensor([0, 5, 2]), torch.tensor([4, 4, 4]))
    found = cut_contexts(images, seeds, 4, 3)
    assert found.shape == (3, 3, 10, 10) and found.dtype == torch.uint8
    for context, image, top, left in zip(found.numpy(), *(part.tolist() for part in seeds[:3]), strict=True):
        padded = np.pad(images.pixels[image].numpy(), ((0, 0), (3, 3), (3, 3)), mode="reflect")
        np.testing.assert_array_equal(context, padded[:, top : top + 10, left : left + 10])


def test_a_margin_larger_than_the_image_repeats_its_edge() -> None:
    images = Images(pictures(1, rows=3, columns=3))
    whole = Seeds(*(torch.tensor([number]) for number in (0, 0, 0, 3)))
    found = cut_contexts(images, whole, 3, 4)[0].numpy()
    mirrored = np.pad(images.pixels[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    np.testing.assert_array_equal(found, np.pad(mirrored, ((0, 0), (2, 2), (2, 2)), mode="edge"))


def test_larger_patches_are_resized_with_their_surroundings() -> None:
    ramp = torch.arange(0, 240, 10, dtype=torch.uint8).expand(1, 1, 24, 24)  # ten a pixel to the right
    seeds = Seeds(*(torch.tensor([number]) for number in (0, 8, 8, 8)))
    found = cut_contexts(Images(ramp.contiguous()), seeds, 4, 2)[0, 0].float()
    assert found.shape == (8, 8)
    centres = 10 * (8 + 2 * (torch.arange(4) + 0.5) - 0.5)  # what lies under the patch's four pixels, two wide each
    assert torch.allclose(found[2:6, 2:6], centres.expand(4, 4), atol=1.0)
