"""DeepCluster on pixels: what is learned from what, the loss against a loop, resumption, and the pixels that count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.datasets.masks import UnreadMasks
from clusterbench.methods.base import MethodError
from clusterbench.methods.deepcluster_segmentation import DeepClusterSegmentation, label_loss
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.registry import methods


def patches(count: int = 8, side: int = 24) -> tuple[Images, np.ndarray]:
    """Squares of one brightness on a ground of another, with noise; the upper rows do not count."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (count, 3, 3)).repeat(8, axis=1).repeat(8, axis=2)
    pixels = (80 + 90 * labels[:, None] + random.normal(0, 10, (count, 3, side, side))).clip(0, 255).astype(np.uint8)
    known = labels.copy()
    known[:, :3] = -1
    return Images(torch.from_numpy(pixels), masks=UnreadMasks(known)), labels


def smoke(seed: int = 0, **settings: Any) -> DeepClusterSegmentation:
    config = resolve("deepcluster-segmentation", "coco-stuff-27", "smoke").config
    return DeepClusterSegmentation(2, seed=seed, **{**config, "epochs": 2, "steps": 3, **settings})


def built(images: Images, **settings: Any) -> DeepClusterSegmentation:
    method = smoke(**settings)
    method.build_for(images.shape, (images.shape[1], images.shape[2]))
    return method


def test_the_loss_is_that_of_a_loop_over_pixels() -> None:
    logits = torch.randn(2, 4, 5, 6, generator=generator("cpu", 0), dtype=torch.float64)
    labels = torch.randint(-1, 4, (2, 10, 12), generator=generator("cpu", 1))
    enlarged = torch.nn.functional.interpolate(logits, (10, 12), mode="bilinear", align_corners=False).numpy()
    losses = []
    for image, row, column in np.argwhere(labels.numpy() >= 0):
        scores = enlarged[image, :, row, column]
        losses.append(np.log(np.exp(scores).sum()) - scores[labels[image, row, column]])
    assert label_loss(logits, labels).item() == pytest.approx(np.mean(losses))
    assert label_loss(logits, torch.full_like(labels, -1)).item() == 0


def test_the_network_learns_the_labels_that_its_copy_gives_the_crops_before_they_are_changed() -> None:
    images = patches()[0]
    method = built(images, use_masks=False)
    method.before_epoch(images, 1)
    before = {name: value.clone() for name, value in method.clustered.state_dict().items()}
    indices = torch.arange(4)
    views = method.views.test(images.batch(indices))
    first = method.labels_of(views)
    method.network.train()
    for step in range(3):
        method.train_step(images, images.batch(indices), indices, generator("cpu", step))
    assert all(torch.equal(value, before[name]) for name, value in method.clustered.state_dict().items())
    assert any(not torch.equal(value, before[name]) for name, value in method.network.state_dict().items())
    assert torch.equal(method.labels_of(views), first) and first.shape == (4, 24, 24)


def test_both_the_network_and_its_top_layer_learn_and_the_loss_falls() -> None:
    images = patches()[0]
    method = built(images, top_lr=0.02)
    method.before_epoch(images, 1)
    top = method.top.weight.detach().clone()
    method.network.train()
    indices = torch.arange(8)
    losses = [
        method.train_step(images, images.batch(indices), indices, generator("cpu", step))["cross_entropy"].item()
        for step in range(30)
    ]
    assert not torch.equal(method.top.weight, top)
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_every_epoch_has_a_new_top_layer_and_new_labels_of_the_same_pixels() -> None:
    images = patches()[0]
    method = smoke()
    training = method.train(images)
    first = next(training)
    top, labels = method.top.weight.detach().clone(), method.sample_labels.copy()
    second = next(training)
    assert not torch.equal(method.top.weight, top) and len(method.sample_labels) == len(labels)
    assert (first.losses["assignment_nmi"], first.criterion) == (0.0, None)
    from sklearn.metrics import normalized_mutual_info_score

    nmi = normalized_mutual_info_score(labels, method.sample_labels)
    assert second.losses["assignment_nmi"] == pytest.approx(nmi) and second.criterion == pytest.approx(1 - nmi)
    sizes = np.bincount(method.sample_labels, minlength=6)
    assert second.losses["largest_cluster"] == pytest.approx(sizes.max() / sizes.sum())


def test_clusters_are_found_on_the_pixels_that_count() -> None:
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator("cpu", 4))
    known = np.where(np.arange(64) < 40, -1, 0)
    masks = UnreadMasks(np.broadcast_to(known, (2, 64, 64)).copy())
    other = pixels.clone()
    other[..., :4] = 255 - other[..., :4]  # too far away for the pixels that count to see it
    drawn = {}
    for masked in (True, False):
        method = built(Images(pixels, masks=masks), use_masks=masked, pixels=10_000, network={"widths": [4] * 6})
        method.network.eval()
        drawn[masked] = [method._sample(Images(each, masks=masks))[0] for each in (pixels, other)]
    assert [len(rows) for rows in drawn[True]] == [2 * 64 * 24] * 2 and len(drawn[False][0]) == 2 * 64 * 64
    assert np.array_equal(*drawn[True]) and not np.array_equal(*drawn[False])


@pytest.mark.parametrize(
    "settings", [{}, {"whiten": 4}, {"sampling": "one-pixel-per-batch", "clusters": 2, "kmeans": {"batch": 1}}]
)
def test_a_resumed_training_ends_with_the_same_bits(settings: dict[str, Any]) -> None:
    images = patches()[0]
    whole = smoke(epochs=3, lr_decay="cosine", **settings)
    epochs = list(whole.train(images))
    broken, onward = (smoke(epochs=3, lr_decay="cosine", **settings) for _ in range(2))
    training = broken.train(images)
    before = [next(training) for _ in range(2)]
    onward.load_state_dict(broken.state_dict())
    assert before + list(onward.train(images)) == epochs
    assert all(torch.equal(value, onward.network.state_dict()[name]) for name, value in whole.network.state_dict().items())
    assert np.array_equal(onward.predict_heads(images), whole.predict_heads(images))


def test_as_released_the_labels_are_found_on_one_pixel_of_each_batch() -> None:
    images = patches()[0]
    rows, weights = built(images, sampling="one-pixel-per-batch", kmeans={"batch": 3})._sample(images)
    assert len(rows) == 3 and weights is not None and weights.tolist() == [3 * 21 * 24, 3 * 21 * 24, 2 * 21 * 24]


def test_it_needs_a_pixel_for_each_label_and_says_so() -> None:
    images = patches()[0]
    with pytest.raises(MethodError, match="100 pixels cannot fill 500 clusters"):
        next(smoke(clusters=500, pixels=100).train(images))


def test_labels_to_learn_are_ten_for_each_class_unless_told() -> None:
    images = patches()[0]
    assert (built(images, clusters=None).learned, built(images, clusters=7).learned) == (20, 7)


def test_deepcluster_is_the_name_for_pixels_too() -> None:
    assert methods.card("deepcluster")["variants"] == {"segmentation": "deepcluster-segmentation"}
