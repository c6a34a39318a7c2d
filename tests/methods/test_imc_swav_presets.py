"""The presets of IMC-SwAV, line by line against the authors' command lines and code."""

from typing import Any

import pytest
import torch

from clusterbench.bench.config import resolve
from clusterbench.datasets.base import Images
from clusterbench.datasets.catalogue import datasets
from clusterbench.methods.imc_swav import IMCSwAV
from clusterbench.methods.kit.imc_bank import FeatureBank
from clusterbench.methods.kit.randomness import generator
from clusterbench.methods.registry import methods

EVERYWHERE = {
    "epochs": 500, "prototypes": 1000, "projection": 128, "hidden": 1024, "temperature": 0.1, "code_temperature": 0.05,
    "sinkhorn_iterations": 3, "entropy_weight": 4, "lr": 5e-4, "lr_schedule": "drops", "lr_drops": [150, 300, 400],
    "lr_drop_factor": 0.4, "warm_up": 500, "prototype_freeze": 500, "betas": [0.8, 0.999], "weight_decay": 1e-5,
    "idle_head_updates": True, "network": "resnet18", "statistics_from": "scored", "statistics_batches": 50,
    "crops_together": False, "precision": "float32", "classifier_images": "main",
}  # fmt: skip
VIEWS = {
    "large_crops": 2, "small_crops": 4, "large_scale": [0.2, 1.0], "small_scale": [0.08, 0.4], "flip_probability": 0.5,
    "jitter_probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "grey_probability": 0.25,
    "rotation": 0, "shear": 0, "test_size": None,
}  # fmt: skip
CIFAR, CIFAR100 = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]), ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761])
STL, TINY = ([0.43, 0.42, 0.39], [0.27, 0.26, 0.27]), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

# data set: batch, stem, sides of large and small crops, mean and deviation, shape, images of train and batches in an epoch
PUBLISHED: dict[str, tuple[int, str, int, int, Any, tuple[int, int, int], tuple[int, int]]] = {
    "cifar10": (256, "cifar", 28, 18, CIFAR, (3, 32, 32), (50_000, 195)),
    "cifar100-20": (256, "cifar", 28, 18, CIFAR100, (3, 32, 32), (50_000, 195)),
    "cifar100": (512, "cifar", 28, 18, CIFAR100, (3, 32, 32), (50_000, 97)),
    "stl10": (256, "stl-unpadded", 76, 52, STL, (3, 96, 96), (105_000, 410)),
    "tiny-imagenet": (512, "stl-unpadded", 56, 36, TINY, (3, 64, 64), (100_000, 195)),
}


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_every_published_setting_is_the_authors_one(dataset: str) -> None:
    config = resolve("imc-swav", dataset, "paper").config
    batch, stem, large, small, (mean, std), _, (images, batches) = PUBLISHED[dataset]
    assert {name: config[name] for name in EVERYWHERE} == EVERYWHERE
    assert (config["batch"], config["stem"]) == (batch, stem)
    views = {**VIEWS, "large_size": large, "small_size": small, "mean": mean, "std": std}
    assert {name: config["views"][name] for name in views} == views
    assert images // batch == batches


@pytest.mark.parametrize("dataset", ["cifar10", "stl10"])
def test_the_published_network_is_built_and_takes_a_step(dataset: str) -> None:
    shape = PUBLISHED[dataset][5]
    method = IMCSwAV(10, **{**resolve("imc-swav", dataset, "paper").config, "batch": 2})
    method.build(shape)
    # ResNet-18 with a 3x3 stem, two linear layers, prototypes, and three linear layers with two batch norms
    trunk = sum(parameter.numel() for parameter in method.network.trunk.parameters())
    assert trunk == 11_689_512 - 513_000 - 3 * 64 * 49 + 3 * 64 * 9
    heads = (512 * 512 + 512) + (512 * 128 + 128) + 128 * 1000
    heads += (512 * 1024 + 1024) + 2 * 1024 + (1024 * 1024 + 1024) + 2 * 1024 + (1024 * 10 + 10)
    assert sum(parameter.numel() for parameter in method.network.parameters()) == trunk + heads
    images = Images(torch.randint(0, 256, (2, *shape), dtype=torch.uint8))
    members = method._members(images, [torch.arange(2)])[0]
    losses, has_classifier = method.train_step(images.pixels, members, FeatureBank(), generator("cpu", 0))
    assert torch.isfinite(losses).all() and has_classifier
    assert method.predict_heads(images).shape == (1, 2)


def test_every_data_set_of_short_fits_its_network() -> None:
    for name, shape in {"digits": (1, 8, 8), "usps": (1, 16, 16), "mnist": (1, 28, 28), "cifar10": (3, 32, 32)}.items():
        config = resolve("imc-swav", name, "short").config
        method = IMCSwAV(10, **config)
        method.build(shape)
        batch = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
        assert method.network.views(method.views.crops(batch, generator("cpu", 0)))[0].shape == (6, 4, config["widths"][-1])
        assert method.network(method.views.test(batch)).shape == (4, 10)
        assert config["statistics_from"] == "training" and datasets.card(name)["classes"] == 10


def test_the_card_says_what_the_published_evaluation_leaks() -> None:
    (told,) = methods.card("imc-swav")["leaks"]
    assert "test images" in told and "batch norm" in told
