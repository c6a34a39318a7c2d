"""What is said of a run's clusters with and without labels, and the sheets that are made of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import adjusted_rand_score, silhouette_score
from trial_fakes import Drift, drift_spec, registered, run, tiny_data

from clusterbench.bench import contact_sheet
from clusterbench.bench.contact_sheet import sheet_of_folder, sheet_of_run
from clusterbench.bench.interpretation import interpret
from clusterbench.bench.predict import Labeller, label_folder
from clusterbench.bench.run_lookup import find_run
from clusterbench.datasets.base import Images
from clusterbench.results.figures.jobs import Cannot
from clusterbench.results.record import Record, RecordError
from clusterbench.results.unlabelled import told

PIXELS = tiny_data().score.pixels.numpy()


class Sure(Drift):
    """As Drift, with probabilities."""

    def predict_proba(self, images: Any) -> np.ndarray:
        chosen = self.predict_heads(Images.of(images))[self.chosen_head]
        sure = 0.4 + 0.5 * (Images.of(images).pixels.float().mean((1, 2, 3)) / 255).numpy()
        found = np.repeat((1 - sure)[:, None] / 2, 3, axis=1)
        found[np.arange(len(sure)), chosen] = sure
        return found


def images(record: Record, rows: np.ndarray) -> np.ndarray:
    return PIXELS[rows]


def nowhere(record: Record, rows: np.ndarray) -> np.ndarray:
    raise Cannot("the images are not here")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def trial(out: Path, method: type[Drift] = Drift, seed: int = 6, **settings: Any) -> Record:
    data = tiny_data(labelled=False)
    with registered(method):
        spec = drift_spec(data, **{"epochs": 3, "judges": False, **settings})
        return run(spec.model_copy(update={"seed": seed}), data, out)


def own(record: Record) -> np.ndarray:
    kept = record.labels()
    return kept["own-loss"][kept["own-loss/head"]]


def test_a_trial_without_labels_records_sizes_and_the_silhouette_of_its_pixels(tmp_path: Path) -> None:
    record = trial(tmp_path)
    found = told(record)
    assert found["sizes"] == np.bincount(own(record), minlength=3).tolist()
    expected = silhouette_score(PIXELS.reshape(60, -1) / 255, own(record))
    assert found["silhouette"] == {"value": pytest.approx(expected, abs=1e-6), "features": "pixels", "n": 60}
    assert found["confidence"] is None


def test_a_trial_with_labels_records_none_of_it(drift: type, tmp_path: Path) -> None:
    data = tiny_data()
    assert told(run(drift_spec(data, epochs=1), data, tmp_path)) == {}


def test_confidence_is_recorded_where_the_method_has_one(tmp_path: Path) -> None:
    found = told(trial(tmp_path, Sure))["confidence"]
    assert found["mean"] == pytest.approx(float((0.4 + 0.5 * PIXELS.mean((1, 2, 3)) / 255).mean()), abs=1e-3)
    assert (found["n"], found["epoch"], found["sure"]) == (60, 3, 0.0)


def test_features_of_the_method_come_before_pixels(tmp_path: Path) -> None:
    class Featured(Drift):
        def features_of(self, images: Images) -> Any:
            return images.pixels[:, 0, 0, :2].float()

    record = trial(tmp_path, Featured)
    expected = silhouette_score(PIXELS[:, 0, 0, :2].astype(float), own(record))
    assert told(record)["silhouette"] == {"value": pytest.approx(expected), "features": "the method's features", "n": 60}


def test_features_that_fail_cost_the_silhouette_and_not_the_trial(tmp_path: Path) -> None:
    class Broken(Drift):
        def features_of(self, images: Images) -> Any:
            raise RuntimeError("no features")

    record = trial(tmp_path, Broken)
    assert record.is_complete and told(record)["silhouette"] is None and told(record)["sizes"]


def test_stability_is_that_of_the_seeds_beside_the_run(tmp_path: Path) -> None:
    first, second, other = trial(tmp_path), trial(tmp_path, seed=7), trial(tmp_path, epochs=2)
    found = interpret(first, images)
    assert found.seeds == 2 and found.stability is not None
    assert found.stability.mean == pytest.approx(adjusted_rand_score(own(first), own(second)))
    assert found.recurrence is not None and all(0 < value <= 1 for value in found.recurrence if value is not None)
    alone = interpret(other, images)
    assert alone.stability is None and alone.recurrence is None
    assert ("stability", "unknown: 1 seed") in alone.facts


def test_confidence_by_cluster_is_the_mean_of_its_images(tmp_path: Path) -> None:
    record = trial(tmp_path, Sure)
    found = interpret(record, images)
    sure = 0.4 + 0.5 * PIXELS.mean((1, 2, 3)) / 255
    expected = [float(sure[own(record) == cluster].mean()) for cluster in range(3)]
    assert found.confidence_by_cluster == pytest.approx(expected, abs=1e-3)


def test_where_only_the_last_epochs_confidence_is_kept_its_clusters_are_shown_and_it_is_said(tmp_path: Path) -> None:
    record = trial(tmp_path, Sure, judges=True)
    assert record.metrics["own-loss"]["epoch"] == 2
    found = interpret(record, images)
    kept = record.labels()
    assert found.selection == "last" and np.array_equal(found.clusters, kept["last"][kept["last/head"]])
    assert any("own loss preferred epoch 2" in note for note in found.notes)


def test_images_that_are_not_here_cost_the_silhouette_of_a_labelled_run(drift: type, tmp_path: Path) -> None:
    data = tiny_data()
    record = run(drift_spec(data, epochs=2), data, tmp_path)
    assert interpret(record, images).silhouette is not None
    found = interpret(record, nowhere)
    assert found.silhouette is None and found.notes == ["no silhouette: the images are not here"]


def test_a_runs_sheet_shows_the_surest_and_the_least_sure_of_every_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_sheet, "PER_CLUSTER", 3)
    record = trial(tmp_path, Sure)
    sheet = sheet_of_run(interpret(record, images), images)
    assert [cluster.size for cluster in sheet.clusters] == sorted(np.bincount(own(record), minlength=3), reverse=True)
    brightness = PIXELS.astype(float).mean((1, 2, 3))
    for cluster in sheet.clusters:
        members = np.flatnonzero(own(record) == cluster.number)
        order = members[np.argsort(brightness[members])]
        most, least = cluster.strips
        assert {picture.name for picture in most.pictures} == {f"image {row}" for row in order[-3:]}
        assert {picture.name for picture in least.pictures} == {f"image {row}" for row in order[:3]}


def test_without_confidence_a_sheet_says_that_its_pictures_are_random(tmp_path: Path) -> None:
    record = trial(tmp_path)
    sheet = sheet_of_run(interpret(record, images), images)
    assert any("drawn at random" in note for note in sheet.notes)
    shown = {picture.name for cluster in sheet.clusters for strip in cluster.strips for picture in strip.pictures}
    assert shown <= {f"image {row}" for row in range(60)} and len(shown) >= 3
    with pytest.raises(Cannot):
        sheet_of_run(interpret(record, nowhere), nowhere)


def test_a_folders_sheet_counts_what_was_labelled(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(PIXELS[number, 0]).save(folder / f"{number}.png")
    record = trial(tmp_path / "out", Sure)
    with registered(Sure):
        labeller = Labeller(record)
        done = label_folder(labeller, folder, tmp_path / "x.csv", per_cluster=12)
    brightness = PIXELS[[int(row["path"].removesuffix(".png")) for row in rows(tmp_path / "x.csv")]].mean((1, 2, 3))
    sure = [float(row["confidence"]) for row in rows(tmp_path / "x.csv")]
    assert sure == pytest.approx((0.4 + 0.5 * brightness / 255).tolist(), abs=1e-4)
    assert done.confidence is not None and done.confidence.sum() == pytest.approx(sum(sure), abs=0.01)
    (folder / "3.png").unlink()  # gone since
    sheet = sheet_of_folder(labeller, done, folder)
    assert sum(cluster.size for cluster in sheet.clusters) == 20
    shown = [picture.name for cluster in sheet.clusters for strip in cluster.strips for picture in strip.pictures]
    assert len(shown) == len(set(shown)) and set(shown) == {f"{number}.png" for number in range(20)} - {"3.png"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (lambda record: str(record.folder), True),
        (lambda record: record.folder.name, True),
        (lambda record: record.id[:8], True),
        (lambda record: "drift", "2 runs in"),
        (lambda record: "drift-tiny-smoke-s9", "No run in .* Did you mean 'drift-tiny-smoke-s"),
    ],
)
def test_a_run_is_found_by_its_folder_or_by_any_part_of_the_name_that_no_other_has(
    tmp_path: Path, name: Callable[[Record], str], wanted: bool | str
) -> None:
    record, _ = trial(tmp_path), trial(tmp_path, seed=7)
    if wanted is True:
        assert find_run(name(record), tmp_path).id == record.id
        return
    with pytest.raises(RecordError, match=str(wanted)):
        find_run(name(record), tmp_path)


def test_a_folder_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="There is no run in .* bench run"):
        find_run("x", tmp_path)
