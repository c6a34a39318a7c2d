"""What the five autoencoders of Table 1 have in common: they learn digits, and their presets are those of the reference."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.metrics.cluster import contingency_matrix

from clusterbench.bench.config import resolve
from clusterbench.datasets.catalogue import datasets
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.feature_method import FeatureMethod
from clusterbench.methods.registry import methods

FAMILY = ("ae", "sparse-ae", "denoising-ae", "vae", "swwae")
SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "usps": (1, 16, 16), "cifar10": (3, 32, 32), "stl10": (3, 96, 96)}
# Of the suggested settings where nothing is documented: Adam at 1e-3, batches of 128, 100 epochs, plain k-means of ten starts.
EVERYWHERE: dict[str, Any] = {"epochs": 100, "batch": 128, "lr": 1e-3, "lr_decay": "none", "images": "all", "whiten": None}
OWN: dict[str, dict[str, Any]] = {
    "ae": {"code": 64, "weight_decay": 0},
    "sparse-ae": {"code": 64, "rho": 0.05, "beta": 3.0, "weight_decay": 1e-4},
    "denoising-ae": {"code": 64, "noise": "masking", "amount": 0.2},
    "vae": {"code": 64, "beta": 1.0},
    "swwae": {"code": None, "widths": [[64], [128], [256]], "pools": [2, 2, 2]},
}
every_one = pytest.mark.parametrize("name", FAMILY)


def built(name: str, dataset: str, preset: str) -> FeatureMethod:
    """The method of a preset for images of `dataset`, without memory for its weights."""
    classes = datasets.card(dataset)["classes"]
    method = methods.get(name)(classes, device="meta", **resolve(name, dataset, preset).config)
    assert isinstance(method, FeatureMethod)
    with torch.device("meta"):
        method.build_for(SHAPES[dataset])
    method.arithmetic = Arithmetic("cpu")  # autocast knows no meta device
    return method


@every_one
def test_it_learns_digits_within_seconds(name: str) -> None:
    digits = load_digits()
    images = (digits.images[:600] * 255 / 16).round().astype(np.uint8)
    config = {**resolve(name, "digits", "short").config, "epochs": 8, "batch": 32, "cluster_every": 8}
    labels = methods.get(name)(10, **config).fit(images).labels_
    counts = contingency_matrix(digits.target[:600], labels)
    assert counts[linear_sum_assignment(counts, maximize=True)].sum() / 600 > 0.4


@every_one
def test_paper_is_what_the_reference_suggests(name: str) -> None:
    config = resolve(name, "cifar10", "paper").config
    wanted = EVERYWHERE | OWN[name]
    assert {key: config[key] for key in wanted} == wanted
    assert {key: config["kmeans"][key] for key in ("restarts", "normalise", "pca")} == {
        "restarts": 10,
        "normalise": "none",
        "pca": None,
    }
    if name != "swwae":
        assert (config["network"]["kind"], config["network"]["widths"]) == ("conv", [64, 128, 256])


def test_the_vae_of_mnist_is_the_common_example() -> None:
    method = built("vae", "mnist", "paper")
    linear = [(layer.in_features, layer.out_features) for layer in method.network.modules() if isinstance(layer, torch.nn.Linear)]
    assert linear == [(784, 400), (400, 2 * 20), (20, 400), (400, 784)]
    config = resolve("vae", "mnist", "paper").config
    wanted = {"epochs": 10, "batch": 128, "lr": 1e-3, "likelihood": "bernoulli", "beta": 1.0}
    assert {key: config[key] for key in wanted} == wanted


def test_the_swwae_of_stl10_is_the_authors_network() -> None:
    config = resolve("swwae", "stl10", "paper").config
    assert config["widths"] == [[64], [64], [128, 128], [256] * 3 + [512] * 3] and config["pools"] == [4, 3, 2, 2]


@every_one
@pytest.mark.parametrize("preset", ["paper", "short", "smoke"])
@pytest.mark.parametrize("dataset", SHAPES)
def test_every_preset_builds_a_network_whose_features_can_be_whitened(name: str, preset: str, dataset: str) -> None:
    method = built(name, dataset, preset)
    method.network.eval()
    with torch.device("meta"):
        features = method.features(torch.empty(4, *SHAPES[dataset], dtype=torch.uint8))
    assert features.shape[0] == 4 and features.shape[1] >= (method.config.whiten or 2)
