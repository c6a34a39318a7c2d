"""K-means on the features of a network from the store of artefacts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.datasets import load_digits

from clusterbench.datasets.base import Images
from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.artefacts import Artefacts
from clusterbench.methods.kit.backbones import BackboneSettings
from clusterbench.methods.kit.contrastive_views import SimCLRViewSettings
from clusterbench.methods.kit.kept_pretext import KeptPretext
from clusterbench.methods.kit.simclr import Pretext, PretextSettings
from clusterbench.methods.kmeans import KMeans

IMAGES = Images.of((load_digits().images * 255 / 16).round().astype(np.uint8)[:300])
VIEWS = SimCLRViewSettings(mean=(0.3,), std=(0.4,))
RESTARTS = {"restarts": 3}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Pretext]:
    """The name of a kept network whose batch norms have seen images, and the network itself."""
    monkeypatch.setenv("CLUSTERBENCH_CACHE", str(tmp_path))
    network = BackboneSettings(name="small", widths=(4, 8))
    pretext = Pretext(PretextSettings(dimensions=6), network, VIEWS, IMAGES.shape, 5, Arithmetic("cpu"))
    with torch.no_grad():
        pretext.network(pretext.views.test(IMAGES.pixels))
    KeptPretext(pretext, Artefacts(), role="all").keep(IMAGES)
    (entry,) = Artefacts().entries()
    pretext.network.eval()
    return entry.name, pretext


@pytest.mark.parametrize("layer", ["", "/projection"])
def test_it_is_scikit_learns_on_features_of_unit_length(kept: tuple[str, Pretext], layer: str) -> None:
    name, pretext = kept
    pixels = (IMAGES.pixels.float() / 255 - 0.3) / 0.4
    with torch.no_grad():
        features = pretext.network.trunk(pixels)
        features = (pretext.network.projection(features) if layer else features).numpy()
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    theirs = SklearnKMeans(10, n_init=3, random_state=2).fit_predict(features)
    ours = KMeans(10, seed=2, features="network", network={"weights": name + layer, "batch": 70}, kmeans=RESTARTS)
    np.testing.assert_array_equal(ours.fit_predict(IMAGES), theirs)
    assert ours.artefacts_used == [name]


def test_a_saved_state_predicts_the_same(kept: tuple[str, Pretext]) -> None:
    settings = {"features": "network", "network": {"weights": kept[0]}, "kmeans": RESTARTS}
    trained, loaded = KMeans(10, **settings).fit(IMAGES), KMeans(10, **settings)
    loaded.load_state_dict(trained.state_dict())
    np.testing.assert_array_equal(loaded.predict(IMAGES), trained.predict(IMAGES))


def test_unknown_names_layers_and_images_of_another_shape_are_refused(kept: tuple[str, Pretext]) -> None:
    name = kept[0]
    near = f"{name[:-1]}{'0' if name[-1] != '0' else '1'}"
    cases = (
        (near, IMAGES, rf"there is no {near}.*Did you mean {name}\?"),
        ("pretext/zzz", IMAGES, "bench cache list --kind pretext"),
        (f"{name}/head", IMAGES, "names no layer"),
        (name, Images.of(np.zeros((20, 9, 8), np.uint8)), "was trained on images of 1x8x8; these are of 1x9x8"),
    )
    for weights, images, message in cases:
        with pytest.raises(MethodError, match=message):
            KMeans(10, features="network", network={"weights": weights}).fit(images)
