"""Labels for a folder of images: against what the run itself recorded for the same pixels."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trial_fakes import drift_spec, run, tiny_data, two_parts

from clusterbench.bench import predict
from clusterbench.bench.predict import Labeller, class_names, label_folder
from clusterbench.bench.sampling import Sampler, samples_of_each
from clusterbench.datasets.errors import DataError
from clusterbench.methods.base import MethodError
from clusterbench.results.record import Record, RecordError


@pytest.fixture
def record(drift: type, tmp_path: Path) -> Record:
    data = tiny_data()
    return run(drift_spec(data, epochs=3), data, tmp_path / "records")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The images of the run as files, in their order, and two that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, pixels in enumerate(tiny_data().score.pixels[:, 0].numpy()):
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (folder / "20b.png").write_bytes(b"no image")
    (folder / "99.png").write_bytes(b"no image either")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def own(record: Record) -> np.ndarray:
    kept = record.labels()
    return kept["last"][kept["last/head"]]


@pytest.mark.parametrize("at_a_time", [2, 7, 59, 60, 1_000])
def test_files_of_the_training_images_get_the_clusters_of_the_record(
    record: Record, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(predict, "LARGEST_PART", at_a_time)
    done = label_folder(Labeller(record), photos, tmp_path / "labels.csv")
    found = rows(tmp_path / "labels.csv")
    assert [row["path"] for row in found] == sorted(path.name for path in photos.iterdir())
    good = [row for row in found if not row["problem"]]
    assert [int(row["cluster"]) for row in good] == own(record).tolist()
    assert done.sizes.tolist() == np.bincount(own(record), minlength=3).tolist()
    assert {row["path"]: row["cluster"] for row in found if row["problem"]} == {"20b.png": "", "99.png": ""}
    assert (done.seen.images, done.seen.bad) == (60, 2) and [name for name, _ in done.problems] == ["20b.png", "99.png"]


def test_classes_are_those_that_the_records_accuracy_counts(record: Record, photos: Path, tmp_path: Path) -> None:
    label_folder(Labeller(record), photos, tmp_path / "labels.csv")
    named = [row["class"] for row in rows(tmp_path / "labels.csv") if not row["problem"]]
    truth = ["abc"[label] for label in tiny_data().labels]
    right = np.mean([name == label for name, label in zip(named, truth, strict=True)])
    assert right == pytest.approx(record.score("acc", "last"))


def test_a_map_found_on_other_images_names_the_clusters(drift: type, tmp_path: Path) -> None:
    data = two_parts().under("semi-supervised")
    record = run(drift_spec(data, epochs=2), data, tmp_path)
    names = class_names(record)
    assert names is not None
    right = np.mean([names[cluster] == "abc"[label] for cluster, label in zip(own(record), data.labels, strict=True)])
    assert right == pytest.approx(record.score("acc", "last"))


def test_data_without_labels_gives_no_class_names(drift: type, photos: Path, tmp_path: Path) -> None:
    data = tiny_data(labelled=False)
    record = run(drift_spec(data, epochs=1), data, tmp_path / "records")
    label_folder(Labeller(record), photos, tmp_path / "labels.csv")
    assert {row["class"] for row in rows(tmp_path / "labels.csv")} == {""}


def test_labels_of_another_epoch_than_the_records_choice_are_told(drift: type, tmp_path: Path) -> None:
    data = tiny_data()
    record = run(drift_spec(data, epochs=3), data, tmp_path)
    chosen = record.metrics["own-loss"]["epoch"]
    assert chosen != 3
    assert any("last epoch (3)" in note and f"epoch {chosen}" in note for note in Labeller(record).notes)


def test_settings_that_make_labels_depend_on_their_company_are_told(record: Record) -> None:
    labeller = Labeller(record)
    assert not any("batch norm" in note for note in labeller.notes)
    labeller.record = record.model_copy(update={"spec": {**record.spec, "config": {"network": {"batch_statistics": "batch"}}}})
    assert any("batch norm" in note for note in labeller.notes)


def test_an_interrupted_labelling_leaves_the_file_that_was_there(record: Record, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.csv"
    output.write_text("before")

    def stop(done: int, bad: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_folder(Labeller(record), photos, output, progress=stop)
    assert output.read_text() == "before"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_a_folder_without_images_is_an_error_and_leaves_no_file(record: Record, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("x")
    with pytest.raises(DataError, match="holds no image files, but 1 other files"):
        label_folder(Labeller(record), tmp_path / "empty", tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()


def test_any_file_name_survives(record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ('a,"b\n.png', "=1+1.png", b"\xff.png".decode("utf-8", "surrogateescape")):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / name, "PNG")
    label_folder(Labeller(record), folder, tmp_path / "labels.csv")
    assert {row["path"] for row in rows(tmp_path / "labels.csv")} == {path.name for path in folder.iterdir()}


def test_a_run_that_labels_pixels_is_sent_elsewhere(record: Record) -> None:
    pixels = record.model_copy(update={"spec": {**record.spec, "method": "iic-segmentation"}})
    with pytest.raises(MethodError, match="labels pixels, not images"):
        Labeller(pixels)


def test_a_record_without_the_shape_of_its_images_is_told(record: Record) -> None:
    with pytest.raises(RecordError, match="does not tell the shape"):
        Labeller(record.model_copy(update={"provenance": {"data": {}}}))


def test_the_sampler_keeps_both_ends_of_every_cluster() -> None:
    random = np.random.default_rng(0)
    sure = random.random(200)
    sampler: Sampler[int] = Sampler(2, 5)
    for member, value in enumerate(sure):
        sampler.offer(member % 2, member, float(value))
    order = sorted(range(0, 200, 2), key=lambda member: sure[member])
    assert [member for member, _ in sampler.most(0)] == order[::-1][:5]
    assert sampler.least(0) == [(member, sure[member]) for member in order[:5]]


def test_the_sampler_shows_no_member_of_a_small_cluster_twice() -> None:
    sampler: Sampler[str] = Sampler(1, 3)
    for name, sure in (("a", 0.5), ("b", 0.5), ("c", 0.9), ("d", 0.1)):
        sampler.offer(0, name, sure)
    assert [name for name, _ in sampler.most(0)] == ["c", "a", "b"]  # the first of equals first
    assert [name for name, _ in sampler.least(0)] == ["d"]


def test_without_confidence_every_member_has_the_same_chance() -> None:
    hits: Counter[int] = Counter()
    for start in range(2_000):
        sampler: Sampler[int] = Sampler(1, 1)
        sampler._random.seed(start)
        for member in range(8):
            sampler.offer(0, member, None)
        hits.update(sampler.some(0))
    assert sum(hits.values()) == 4_000 and all(abs(hits[member] - 500) < 100 for member in range(8))


def test_a_sheet_of_many_clusters_has_fewer_pictures_of_each() -> None:
    assert [samples_of_each(k, 1_500, 12) for k in (2, 10, 100, 5_000)] == [12, 12, 7, 2]
