"""The `short` presets on real data, whole: slow, and what the README promises."""

from pathlib import Path

import pytest

from clusterbench.bench.config import resolve
from clusterbench.bench.spec import make_spec
from clusterbench.bench.trial import run_trial
from clusterbench.datasets.catalogue import load
from clusterbench.results.record import Record

pytestmark = pytest.mark.slow


def reproduce(method: str, dataset: str, out: Path, root: Path | None = None) -> Record:
    data = load(dataset, root=root).under("full")
    return run_trial(make_spec(resolve(method, dataset, "short"), data), data, out=out, device="cpu")


def test_iic_finds_the_digits_without_labels(tmp_path: Path) -> None:
    record = reproduce("iic", "digits", tmp_path)
    # k-means has 0.793 there; one of two classes of digits taken for one cluster leaves about 0.8
    assert record.score("acc", "own-loss") > 0.8
    assert record.metrics["own-loss"]["clusters_used"] == 10
    assert record.metrics["oracle"]["acc"] >= record.metrics["own-loss"]["acc"]


def test_kmeans_on_mnist_is_within_two_points_of_a_published_number(tmp_path: Path, shared_data: Path) -> None:
    ours = 100 * reproduce("kmeans", "mnist", tmp_path, shared_data).score("acc", "own-loss")
    assert min(abs(ours - published) for published in (57.2, 53.5)) < 2  # the IIC and DAC papers'; the DEC paper's
