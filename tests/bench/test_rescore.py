"""Rescoring: stored labels give the very metrics of the trial, what they replace is kept, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cli_tools import Bench
from sklearn.metrics import adjusted_mutual_info_score
from trial_fakes import Drift, DriftConfig, drift_spec, registered, run, tiny_data, two_parts

from clusterbench.bench.rescore import rescore
from clusterbench.bench.spec import TrialSpec
from clusterbench.datasets.base import Images, TrialData
from clusterbench.datasets.splits import Dataset, Split
from clusterbench.results.metrics import METRICS_VERSION
from clusterbench.results.record import Record, RecordError, RecordWriter, read_record


class Maps(Drift):
    """Labels every pixel by its brightness and the image's cluster."""

    name: ClassVar[str] = "maps"
    task = "segmentation"

    def predict_heads(self, images: Images) -> np.ndarray:
        whole = super().predict_heads(images)  # (H, N)
        dark = images.pixels[:, 0].numpy() > 99  # (N, H', W')
        return (whole[:, :, None, None] + dark) % self.n_clusters


class Twice(Drift):
    """Also predicts another way."""

    name: ClassVar[str] = "twice"

    @property
    def other_predictions(self) -> Mapping[str, Callable[[Images], np.ndarray]]:
        return {"reversed": lambda images: self.n_clusters - 1 - self.predict_heads(images)}


@pytest.fixture(autouse=True)
def methods_are_known() -> Iterator[None]:
    with registered(Drift), registered(Maps), registered(Twice):
        yield


def pixels() -> Dataset:
    random = np.random.default_rng(2)
    parts = {}
    for name, n in (("train", 5), ("test", 19)):
        images = random.integers(0, 200, (n, 1, 4, 4)).astype(np.uint8)
        parts[name] = Split(images, np.where(random.random((n, 4, 4)) < 0.1, -1, images[:, 0] // 70).astype(np.int8))
    roles = {"main": ["train"], "auxiliary": ["train"], "mapping": ["train"], "scored": ["test"]}
    return Dataset("pixels", parts, ("a", "b", "c"), card={"protocols": {"split": roles}})


def finished(out: Path, data: TrialData, method: type[Drift] = Drift, clusters: int = 3) -> Record:
    task = "semi-supervised" if data.protocol == "semi-supervised" else method.task
    spec = TrialSpec(
        method=method.name, method_version=3, task=task, dataset=data.name, data_fingerprint=data.fingerprint,
        protocol=data.protocol, seed=6, n_clusters=clusters, preset="smoke", config=DriftConfig(epochs=3).model_dump(),
    )  # fmt: skip
    return run(spec, data, out)


CASES = {
    "images": lambda out: finished(out, tiny_data()),
    "more clusters than classes": lambda out: finished(out, tiny_data(), clusters=5),
    "no labels": lambda out: finished(out, tiny_data(labelled=False)),
    "map found on train": lambda out: finished(out, two_parts().under("semi-supervised")),
    "many to one": lambda out: finished(out, two_parts().under("semi-supervised"), clusters=7),
    "pixels": lambda out: finished(out, pixels().under("split"), Maps, clusters=5),
    "another way to predict": lambda out: finished(out, two_parts().under("semi-supervised"), Twice),
}


@pytest.mark.parametrize("case", CASES)
def test_stored_labels_give_the_metrics_that_the_trial_wrote(tmp_path: Path, case: str) -> None:
    record = CASES[case](tmp_path)
    whole = read_record(record.folder)
    before = (record.folder / "record.json").read_bytes()
    assert rescore(whole).outcome == "unchanged"
    assert (record.folder / "record.json").read_bytes() == before
    RecordWriter(record.folder).update(metrics_version=0, metrics={name: {"epoch": whole.metrics[name]["epoch"], "acc": 0.5}
                                       | {key: whole.metrics[name][key] for key in ("chosen_with",) if key in whole.metrics[name]}
                                       for name in whole.metrics})  # fmt: skip
    done = rescore(read_record(record.folder))
    assert done.outcome == "rescored"
    assert read_record(record.folder).metrics == whole.metrics
    assert read_record(record.folder).metrics_version == METRICS_VERSION


def test_a_metric_that_was_lacking_is_what_scikit_learn_says(tmp_path: Path) -> None:
    record = aged(finished(tmp_path, tiny_data()))
    assert "ami" not in record.metrics["last"]
    metrics, labels = rescore(record).record.metrics["last"], record.labels()
    assert metrics["ami"] == pytest.approx(adjusted_mutual_info_score(labels["truth"], labels["last"][int(labels["last/head"])]))


def aged(record: Record, **fields: Any) -> Record:
    """As a version that had no AMI and a wrong ACC would have left it."""
    old = {name: {**metrics, "acc": 0.25} for name, metrics in record.metrics.items()}
    for metrics in old.values():
        metrics.pop("ami")
    return RecordWriter(record.folder).update(metrics=old, metrics_version=0, selection_gap=0.1, **fields)


def test_what_was_replaced_is_kept_and_nothing_else_changes(tmp_path: Path) -> None:
    old = aged(finished(tmp_path, tiny_data()), notes_of_a_newer_writer=["kept"])
    others = {path.name: path.read_bytes() for path in old.folder.iterdir() if path.is_file() and path.name != "record.json"}
    new = rescore(old).record
    stored = json.loads((old.folder / "record.json").read_text())
    (replaced,) = stored["metrics_history"]
    assert (replaced["metrics_version"], replaced["metrics"], replaced["selection_gap"]) == (0, old.metrics, 0.1)
    assert new.selection_gap == pytest.approx(new.metrics["oracle"]["acc"] - new.metrics["own-loss"]["acc"])
    changed = {"metrics", "metrics_version", "metrics_history", "selection_gap"}
    assert {key: value for key, value in stored.items() if key not in changed} == {
        key: value for key, value in old.model_dump(by_alias=True).items() if key not in changed
    }
    assert others == {name: (old.folder / name).read_bytes() for name in others}


def test_a_second_replacement_keeps_the_first(tmp_path: Path) -> None:
    rescore(aged(finished(tmp_path, tiny_data())))
    (folder,) = (path.parent for path in tmp_path.glob("*/record.json"))
    rescore(aged(read_record(folder)))
    versions = [each["metrics_version"] for each in json.loads((folder / "record.json").read_text())["metrics_history"]]
    assert versions == [0, 0]


def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    old = aged(finished(tmp_path, tiny_data()))
    before = (old.folder / "record.json").read_bytes()
    done = rescore(old, dry_run=True)
    assert done.outcome == "rescored" and done.changes["last ami"][0] is None and done.changes["oracle acc"][0] == 0.25
    assert (old.folder / "record.json").read_bytes() == before


def test_labels_that_do_not_fit_the_record_change_nothing(tmp_path: Path) -> None:
    old = aged(finished(tmp_path, tiny_data()))
    before, labels = (old.folder / "record.json").read_bytes(), old.labels()
    for wrong in ({"last": labels["last"] + 7}, {"truth": labels["truth"][:-1]}, {"last/head": np.array(9)}):
        RecordWriter(old.folder).save_labels({**labels, **wrong})
        with pytest.raises(RecordError, match="does not fit its record"):
            rescore(old)
    RecordWriter(old.folder).save_labels({name: array for name, array in labels.items() if name != "oracle"})
    with pytest.raises(RecordError, match="it lacks 'oracle'"):
        rescore(old)
    assert (old.folder / "record.json").read_bytes() == before


def test_metrics_of_a_newer_version_are_not_put_back(tmp_path: Path) -> None:
    old = aged(finished(tmp_path, tiny_data()))
    newer = RecordWriter(old.folder).update(metrics_version=METRICS_VERSION + 1)
    with pytest.raises(RecordError, match="Upgrade it to rescore"):
        rescore(newer)


def test_the_command_tells_of_each_record_and_leaves_what_it_cannot_score(bench: Bench) -> None:
    data = tiny_data()
    for pause in (0.0, 1.0, 2.0):
        record = run(drift_spec(data, epochs=2, pause=pause), data, bench.out)
        if pause:
            aged(record)
    (record.folder / "labels.npz").unlink()
    dry = bench("rescore", "--dry-run")
    assert dry.code == 0
    assert "1 would be rescored, 1 unchanged, 1 left as they are, 0 failed" in dry.out
    done = bench("rescore")
    assert "metrics version 0 -> 1; own-loss acc 0.25 -> 0." in done.out
    assert "1 rescored, 1 unchanged, 1 left as they are, 0 failed" in done.out
    assert done.err == f"bench: left as it is, without labels.npz: {record.folder.name}\n"
    assert "0 rescored, 2 unchanged" in bench("rescore").out


def test_a_damaged_labels_file_fails_alone(bench: Bench) -> None:
    data = tiny_data()
    for pause in (0.0, 1.0):
        record = aged(run(drift_spec(data, epochs=2, pause=pause), data, bench.out))
    (record.folder / "labels.npz").write_bytes(b"PK")
    done = bench("rescore", "--quiet")
    assert done.code == 1
    assert done.out == "1 rescored, 0 unchanged, 0 left as they are, 1 failed\n"
    assert "labels.npz is damaged" in done.err


def test_no_record_to_rescore_is_told(bench: Bench) -> None:
    done = bench("rescore", "--method", "iic")
    assert done.code == 1
    assert done.err == (
        "bench: There is no record in bench-results to rescore. See what is there: bench leaderboard --out bench-results\n"
    )
