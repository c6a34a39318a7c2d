"""The random network and k-means as methods, on real digits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score

from clusterbench.methods.base import MethodError
from clusterbench.methods.kmeans import KMeans
from clusterbench.methods.random_network import RandomNetwork

DATA = load_digits()
IMAGES = (DATA.images * 255 / 16).round().astype(np.uint8)
NETWORK = {"widths": (8, 16), "views": {"size": 16, "crop": 8}}


def test_kmeans_on_pixels_is_scikit_learns() -> None:
    theirs = SklearnKMeans(10, n_init=10, random_state=3).fit_predict(IMAGES.reshape(-1, 64).astype(np.float32) / 255)
    np.testing.assert_array_equal(KMeans(10, seed=3).fit_predict(IMAGES), theirs)


def test_kmeans_on_a_networks_features_uses_the_weights_it_is_given(tmp_path: Path) -> None:
    method = KMeans(10, features="network", network=NETWORK, kmeans={"restarts": 2}).fit(IMAGES[:300])
    torch.manual_seed(0)
    weights = {
        f"trunk.{name}": torch.rand_like(value.float()).to(value.dtype)
        for name, value in method.extractor.trunk.state_dict().items()
    }
    save_file(weights, tmp_path / "model.safetensors")
    trained = KMeans(
        10, features="network", network={**NETWORK, "weights": str(tmp_path / "model.safetensors")}, kmeans={"restarts": 2}
    )
    trained.fit(IMAGES[:300])
    torch.testing.assert_close(trained.extractor.trunk[0].weight, weights["trunk.0.weight"])
    assert (trained.labels_ != method.labels_).any()


def test_missing_damaged_and_foreign_weights_are_refused(tmp_path: Path) -> None:
    damaged, foreign = tmp_path / "damaged.safetensors", tmp_path / "foreign.safetensors"
    damaged.write_bytes(b"no tensors here")
    save_file({"trunk.0.weight": torch.zeros(3)}, foreign)
    for path, message in ((tmp_path / "none", "No weights at"), (damaged, "not a readable"), (foreign, "of another network")):
        with pytest.raises(MethodError, match=message):
            KMeans(10, features="network", network={**NETWORK, "weights": str(path)}).fit(IMAGES[:50])


def test_an_untrained_heads_own_answer_is_far_below_kmeans_on_the_same_features() -> None:
    own = RandomNetwork(10, network=NETWORK).fit_predict(IMAGES)
    clustered = RandomNetwork(10, network=NETWORK, readout="kmeans").fit_predict(IMAGES)
    scores = [normalized_mutual_info_score(DATA.target, labels) for labels in (own, clustered)]
    assert scores[0] < 0.45 < scores[1]


def test_a_random_network_judges_every_sub_head_and_differs_between_seeds() -> None:
    first, second = (RandomNetwork(10, seed=seed, network=NETWORK, sub_heads=4).fit(IMAGES) for seed in (0, 1))
    heads = first.predict_heads(_images())
    assert heads.shape == (4, len(IMAGES))
    assert (heads[0] == first.labels_).all()
    assert len({row.tobytes() for row in heads}) == 4
    assert (first.labels_ != second.labels_).any()


@pytest.mark.parametrize(("readout", "passed"), [("head", 0), ("kmeans", len(IMAGES))])
def test_training_counts_only_the_images_that_went_through_the_network(readout: str, passed: int) -> None:
    (epoch,) = RandomNetwork(10, network=NETWORK, readout=readout, kmeans={"restarts": 1}).train(_images())
    assert epoch.images == passed


def _images():
    from clusterbench.datasets.base import Images

    return Images.of(IMAGES)
