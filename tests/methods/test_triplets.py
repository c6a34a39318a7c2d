"""Triplets: the loss against the authors' formula, which images meet, its variants, its presets, and that it learns digits."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from state_tools import same
from torch.nn import functional

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import datasets
from clusterbench.methods.base import Diverged, Epoch, MethodError
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.triplets import Triplets, divergence, elsewhere, triplet_loss

STILL = {"size": 8, "crop": 8, "crops_transformed": [8], "rotation": 0, "brightness": 0, "contrast": 0}
TINY: dict[str, Any] = {
    "widths": (4, 8),
    "batch": 32,
    "kmeans": {"restarts": 1, "iterations": 10},
    "views": {"size": 8, "crop": 8, "crops_transformed": [6, 7, 8]},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "bounded": {},
    "as the authors": {"margin": None, "shuffle": False, "negatives": "any", "images": "all"},
    "trunk": {"clustered": "trunk", "outputs": 7, "images": "main", "whiten": 6, "lr_decay": "cosine"},
}
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "cifar100-20": (3, 32, 32), "stl10": (3, 96, 96)}


def some_digits(count: int = 100) -> Images:
    pixels = (load_digits().images[:count] * 255 / 16).round().astype(np.uint8)
    return Images(torch.from_numpy(pixels[:, None]), {"main": torch.arange(0, count, 2)})


def made(epochs: int = 1, **settings: Any) -> Triplets:
    return Triplets(10, epochs=epochs, **{**TINY, **settings})


def logits(purpose: str, count: int = 6, outputs: int = 4) -> torch.Tensor:
    return 3 * torch.randn(count, outputs, generator=generator("cpu", 0, purpose), dtype=torch.float64)


def loss_of(copy: torch.Tensor, image: torch.Tensor, other: torch.Tensor, margin: float | None = None) -> torch.Tensor:
    return triplet_loss(divergence(copy, image), divergence(other, image), image.shape[1], margin)


def test_the_divergence_is_that_of_kullback_and_leibler() -> None:
    p, q = logits("p"), logits("q")
    expected = rel_entr(softmax(p.numpy(), axis=1), softmax(q.numpy(), axis=1)).sum(1)
    np.testing.assert_allclose(divergence(p, q).numpy(), expected, rtol=1e-12)
    assert divergence(p, p + 5).abs().max() < 1e-12


def test_without_a_margin_the_loss_is_the_authors() -> None:
    copy, image, other = logits("copy"), logits("image"), logits("other")
    known = image.log_softmax(1)
    expected = functional.kl_div(known, copy.softmax(1), reduction="none").mean() - (
        functional.kl_div(known, other.softmax(1), reduction="none").mean()
    )
    assert loss_of(copy, image, other).item() == pytest.approx(expected.item(), rel=1e-12)


def test_with_a_margin_the_loss_is_what_each_triplet_lacks() -> None:
    copy, image, other = logits("copy"), logits("image"), logits("other")
    p, q, r = (softmax(given.numpy(), axis=1) for given in (copy, image, other))
    lacking = [max(0.0, rel_entr(p[row], q[row]).sum() - rel_entr(r[row], q[row]).sum() + 1.5) for row in range(6)]
    assert 0 < sum(value > 0 for value in lacking) < 6, "some triplets must be fine"
    assert loss_of(copy, image, other, 1.5).item() == pytest.approx(np.mean(lacking) / 4, rel=1e-12)


@pytest.mark.parametrize("margin", [None, 1.0])
def test_the_loss_has_the_gradients_that_differences_give(margin: float | None) -> None:
    given = [logits(name).requires_grad_() for name in ("copy", "image", "other")]
    assert torch.autograd.gradcheck(lambda copy, image, other: loss_of(copy, image, other, margin), given)


def test_without_a_margin_the_loss_falls_without_end_and_with_one_it_stops_at_zero() -> None:
    near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    free = [loss_of(near * scale, near * scale, far * scale).item() for scale in (10, 100, 1000)]
    assert free == pytest.approx([-5, -50, -500], rel=1e-2)
    assert loss_of(near * 1000, near * 1000, far * 1000, 1.0).item() == 0
    assert loss_of(near, near, near, 1.0).item() == pytest.approx(0.5)  # all the same: the margin by the outputs


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_other_images_are_elsewhere_and_each_serves_once(count: int) -> None:
    random = generator("cpu", count)
    for _ in range(200):
        places, drawn = (torch.randperm(count, generator=random) for _ in range(2))
        found = elsewhere(places, drawn)
        assert not bool((found == places).any())
        assert found.sort().values.tolist() == list(range(count))


def read_triplets(given: Images, **settings: Any) -> torch.Tensor:
    """All triplets of one epoch: (3, N)."""
    parts = made(**settings).order(given, generator("cpu", 3))
    return torch.cat([part.view(3, -1) for part in parts], dim=1)


def test_every_image_is_once_the_first_and_once_the_other_and_never_its_own() -> None:
    images = some_digits()
    for role, members in (("all", list(range(100))), ("main", list(range(0, 100, 2)))):
        first, same_again, other = read_triplets(images, images=role)
        assert torch.equal(first, same_again) and not bool((first == other).any())
        assert first.sort().values.tolist() == other.sort().values.tolist() == members


def test_the_authors_read_as_stored_and_shuffle_the_others() -> None:
    triplets = [read_triplets(some_digits(), shuffle=False, negatives="any") for _ in range(2)]
    assert triplets[0][0].tolist() == list(range(100)) != triplets[0][2].tolist()
    assert read_triplets(some_digits())[0].tolist() != list(range(100))


def test_a_lone_last_triplet_joins_the_batch_before() -> None:
    assert [len(part) for part in made().order(some_digits(65), generator("cpu", 0))] == [3 * 32, 3 * 33]


def test_a_step_compares_an_image_with_its_copy_and_with_the_other() -> None:
    method, images = made(views=STILL, clustered="logits", margin=None), some_digits(90)
    method.build_for(images.shape)
    method.network.train()
    parts = [images.pixels[:30], images.pixels[30:60], images.pixels[60:]]
    with torch.no_grad():
        image, copy, other = (method.features(part).double() for part in parts)  # in training mode: each by its own statistics
    expected = loss_of(copy, image, other)
    told = method.train_step(images.pixels, generator("cpu", 0))
    assert told["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert told["copy_distance"].item() == pytest.approx(divergence(copy, image).mean().item(), rel=1e-4)
    assert told["other_distance"].item() == pytest.approx(divergence(other, image).mean().item(), rel=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_from_a_saved_state_as_if_nothing_had_happened(variant: str) -> None:
    images, undisturbed = some_digits(), made(3, **VARIANTS[variant])
    epochs = list(undisturbed.train(images))
    broken, onward = (made(3, **VARIANTS[variant]) for _ in range(2))
    training = broken.train(images)
    before: list[Epoch] = [next(training) for _ in range(2)]
    stored = io.BytesIO()
    torch.save(broken.state_dict(), stored)
    onward.load_state_dict(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    np.testing.assert_array_equal(onward.predict_heads(images), broken.predict_heads(images))
    assert before + list(onward.train(images)) == epochs
    assert same(onward.state_dict(), undisturbed.state_dict())


def test_the_largest_output_is_told_beside_where_there_are_as_many_as_clusters() -> None:
    method, images = made(), some_digits()
    next(method.train(images))
    (found,) = method.other_predictions["argmax"](images)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, method.features_of(images).argmax(1).numpy())
    assert method.other_predictions.keys() == {"argmax"} and not made(outputs=12).other_predictions


@pytest.mark.parametrize(("clustered", "size"), [("probabilities", 10), ("logits", 10), ("trunk", 8 * 4 * 4)])
def test_k_means_sees_what_is_asked_for(clustered: str, size: int) -> None:
    method, images = made(clustered=clustered), some_digits()
    (epoch,) = method.train(images)
    features = method.features_of(images)
    assert features.shape == (100, size)
    sums = features.sum(1)
    assert bool(torch.allclose(sums, torch.ones_like(sums))) == (clustered == "probabilities")
    assert epoch.images == 3 * 100 + 50 and epoch.criterion == epoch.losses["loss"]


def test_a_bound_is_told_with_a_margin_only() -> None:
    assert made().loss_floors["criterion"] == 0
    assert not {"loss", "criterion"} & made(margin=None).loss_floors.keys()


def test_an_infinite_loss_stops_training_with_one_clear_line() -> None:
    method, images = made(), some_digits()
    method.build_for(images.shape)
    torch.nn.init.constant_(method.network.head.bias, torch.nan)
    with pytest.raises(Diverged, match=r"triplets: the loss is not finite in epoch 1\. Lower the learning rate"):
        next(method.train(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margins": 1}, r"unknown setting 'margins'\. Did you mean 'margin'\?"),
        ({"margin": 0.0}, "setting 'margin'"),
        ({"outputs": 0}, "setting 'outputs'"),
        ({"negatives": "hard"}, "setting 'negatives'"),
        ({"views": {"crops": 3}}, r"unknown setting 'views\.crops'"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        Triplets(10, **settings)


@pytest.mark.parametrize("dataset", SHAPES)
def test_paper_is_the_version_of_iics_authors(dataset: str) -> None:
    config, iic = (resolve(name, dataset, "paper").config for name in ("triplets", "iic"))
    wanted = {
        "margin": None, "shuffle": False, "negatives": "any", "images": "all", "clustered": "probabilities", "whiten": None,
        "lr_decay": "none", "weight_decay": 0.0, "epochs": 1000, "network": iic["network"],
    }  # fmt: skip
    assert {name: config[name] for name in wanted} == wanted
    assert config["views"] == iic["views"]
    with torch.device("meta"):
        method = Triplets(datasets.card(dataset)["classes"], device="meta", **config)
        network = method.build(SHAPES[dataset])
    assert network.head.out_features == datasets.card(dataset)["classes"]
    assert network.trunk.features == (4608 if dataset == "mnist" else 512)


def test_it_learns_real_digits_without_labels() -> None:
    data = load_digits()
    images = (data.images * 255 / 16).round().astype(np.uint8)
    views = {"size": 8, "crop": 8, "crops_transformed": [7, 8], "rotation": 10, "resampling": "once"}
    method = Triplets(10, epochs=5, widths=(16, 32), lr=3e-3, batch=64, cluster_every=9, views=views)
    epochs = list(method.train(Images.of(images)))
    assert float(epochs[-1].losses["loss"]) < float(epochs[0].losses["loss"])
    assert normalized_mutual_info_score(data.target, method.predict(images)) > 0.3  # chance has about 0.01
