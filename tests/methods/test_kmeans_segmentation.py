"""K-means on a trunk's features: an untrained one, and that of a finished record of another method."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin
from torch.nn import functional

from clusterbench.bench.config import resolve
from clusterbench.bench.spec import TrialSpec, make_spec
from clusterbench.bench.trial import run_trial
from clusterbench.datasets.base import Images, TrialData
from clusterbench.methods.base import MethodError
from clusterbench.methods.iic_segmentation import IICSegmentation
from clusterbench.methods.kmeans_segmentation import KMeansSegmentation
from clusterbench.results.record import Record

NETWORK = {"widths": [4, 4, 6, 6, 8, 8], "head_padding": 0, "dilation_padding": 2}


def coloured(count: int = 6, side: int = 24) -> TrialData:
    generator = np.random.default_rng(0)
    labels = (np.arange(side) < generator.integers(8, 16, (count, 1, 1))) * np.ones((count, side, 1), np.int64)
    pixels = 60 + 120 * labels[:, None] + generator.normal(0, 15, (count, 3, side, side))
    images = Images(torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)))
    return TrialData("halves", "full", images, images, labels.astype(np.int64), ("dark", "bright"), "0" * 12)


def spec_of(method: str, **settings: Any) -> TrialSpec:
    changed = [f"{key}={json.dumps(each)}" for key, each in settings.items()]
    return make_spec(resolve(method, "halves", "smoke", set_=changed), coloured())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    folder = tmp_path_factory.mktemp("trained")
    spec = spec_of("iic-segmentation", epochs=1, steps=2, network=NETWORK, views={"channels": ["sobel", "colours"]})
    yield run_trial(spec, coloured(), out=folder, device="cpu")
    shutil.rmtree(folder)


def features_of(method: KMeansSegmentation, images: Images) -> np.ndarray:
    maps = method._maps(method.views.test(images.pixels))
    enlarged = functional.interpolate(maps, images.shape[1:], mode="bilinear", align_corners=False)
    return enlarged.movedim(1, -1).flatten(0, 2).detach().numpy()


def test_an_untrained_trunk_is_clustered_by_its_enlarged_features() -> None:
    images = coloured().train
    method = KMeansSegmentation(3, features="trunk", network=NETWORK).fit(images)
    assert isinstance(method, KMeansSegmentation) and method.clusters.centres is not None
    features = features_of(method, images)
    nearest = pairwise_distances_argmin(features, method.clusters.centres.numpy())
    assert features.shape[1] == 8 and (nearest == method.labels_.ravel()).mean() > 0.999
    again, other = (KMeansSegmentation(3, features="trunk", network=NETWORK, seed=seed).fit(images) for seed in (0, 1))
    assert np.array_equal(again.labels_, method.labels_) and not np.array_equal(other.labels_, method.labels_)


def test_the_trunk_of_a_record_is_taken_with_its_layers_and_channels(trained: Record) -> None:
    images = coloured().train
    method = KMeansSegmentation(2, features="trunk", start=str(trained.folder)).fit(images)
    assert isinstance(method, KMeansSegmentation) and method.config.views.channels == ("sobel", "colours")
    whole = IICSegmentation(2, **trained.spec["config"])
    whole.build(images.shape, (24, 24))
    from safetensors.torch import load_file

    whole.network.load_state_dict(load_file(trained.folder / "model.safetensors"))
    wanted = whole.network.eval().trunk(whole.views.test(images.pixels))
    torch.testing.assert_close(method._maps(method.views.test(images.pixels)), wanted)


def test_what_it_is_known_by_is_the_weights_and_not_where_they_lie(trained: Record, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "copy")
    places = trained.folder, tmp_path / "copy"
    specs = [spec_of("kmeans-segmentation", features="trunk", start=str(folder)) for folder in places]
    assert specs[0].identity() == specs[1].identity() and specs[0].config["start"]["path"] != specs[1].config["start"]["path"]


def test_its_record_stands_without_the_one_that_it_began_with(trained: Record, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "copy")
    images = coloured().train
    method = KMeansSegmentation(2, features="trunk", start=str(tmp_path / "copy")).fit(images)
    restored = KMeansSegmentation(2, **method.config.model_dump())
    shutil.rmtree(tmp_path / "copy")
    restored.load_state_dict(method.state_dict())
    assert np.array_equal(restored.predict_heads(images), method.predict_heads(images))


def test_a_start_that_is_of_no_use_is_refused_in_one_line(trained: Record, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="add features=trunk"):
        KMeansSegmentation(2, start=str(trained.folder))
    with pytest.raises(MethodError, match="not the folder of a finished trained record"):
        KMeansSegmentation(2, features="trunk", start=str(tmp_path))
