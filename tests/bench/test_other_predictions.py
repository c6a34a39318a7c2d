"""A method's other ways to predict are scored beside the first, in every selection, with and without a mapping of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from trial_fakes import Drift, drift_spec, registered, run, tiny_data, two_parts

from clusterbench.bench.spec import TrialSpec
from clusterbench.datasets.base import Images, TrialData
from clusterbench.methods.base import MethodError

NAME = "turned-round"


class TwoWays(Drift):
    name: ClassVar[str] = "two-ways"

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], np.ndarray]]:
        return {NAME: lambda images: self.predict_heads(Images(255 - images.pixels))}


class Wrong(Drift):
    name: ClassVar[str] = "wrong"

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], np.ndarray]]:
        return {"twice": lambda images: self.predict_heads(images).repeat(2, axis=0)}


def spec(method: type[Drift], data: TrialData) -> TrialSpec:
    return drift_spec(data).model_copy(update={"method": method.name})


def test_their_scores_stand_in_every_selection_and_their_clusters_in_the_labels(tmp_path: Path) -> None:
    data = tiny_data()
    with registered(TwoWays):
        record = run(spec(TwoWays, data), data, tmp_path)
    labels = record.labels()
    for selection, metrics in record.metrics.items():
        clusters = labels[f"{selection}/other/{NAME}"][metrics["head"]]
        scores = metrics["other_predictions"][NAME]
        assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(data.labels, clusters))
        assert scores["ari"] == pytest.approx(adjusted_rand_score(data.labels, clusters))
        assert scores["clusters_used"] == len(np.unique(clusters))
        assert not np.array_equal(clusters, labels[selection][metrics["head"]])


def test_each_way_finds_the_mapping_by_its_own_predictions(tmp_path: Path) -> None:
    data = two_parts().under("semi-supervised")
    with registered(TwoWays):
        record = run(spec(TwoWays, data), data, tmp_path)
    labels, own = record.labels(), record.metrics["own-loss"]
    found_on = labels[f"own-loss/other/{NAME}/mapping"][own["head"]]
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (found_on, labels["mapping/truth"]), 1)
    classes = linear_sum_assignment(counts, maximize=True)[1]
    scored = classes[labels[f"own-loss/other/{NAME}"][own["head"]]]
    assert own["other_predictions"][NAME]["acc"] == pytest.approx(np.mean(scored == labels["truth"]))


def test_a_method_with_one_way_leaves_no_trace_of_others(tmp_path: Path) -> None:
    data = tiny_data()
    with registered(Drift):
        record = run(drift_spec(data), data, tmp_path)
    assert all("other_predictions" not in metrics for metrics in record.metrics.values())
    assert not [name for name in record.labels() if "other" in name]


def test_another_number_of_sub_heads_is_refused(tmp_path: Path) -> None:
    data = tiny_data()
    with registered(Wrong), pytest.raises(MethodError, match="wrong: twice gave 6 sub-heads, predict_heads 3"):
        run(spec(Wrong, data), data, tmp_path)
