"""True labels are compared between records on the same data, also where only counts and a few label maps are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusterbench.bench.exchange.evidence import TrueLabels
from clusterbench.results.record import Record, RecordWriter, read_record

MAPS = np.random.default_rng(0).integers(-1, 3, (4, 5, 5))


def record(out: Path, name: str, labels: dict[str, Any] | None = None, fingerprint: str = "f00d") -> Record:
    """A finished record with these labels."""
    writer = RecordWriter(out / name)
    writer.start(id="0123456789ab", spec={"data_fingerprint": fingerprint, "protocol": "full"})
    if labels is not None:
        writer.save_labels(labels)
    writer.finish(epochs_done=1)
    return read_record(writer.folder)


def pixels(maps: np.ndarray, per_class: tuple[int, ...], heads: int = 2) -> dict[str, Any]:
    """What is kept of label maps whose pixels, of all images, are so many of each class, split between two clusters."""
    confusion = np.stack([[np.array(per_class) - head, np.full(len(per_class), head)] for head in range(heads)])
    return {"truth": maps, "rows": np.arange(len(maps)), "last": np.zeros((heads, *maps.shape)), "last/confusion": confusion}


def other(ours: list[Record], theirs: Record) -> str | None:
    return TrueLabels(ours).other(theirs, theirs.labels())


def test_label_maps_are_compared_as_far_as_both_keep_them(tmp_path: Path) -> None:
    ours = record(tmp_path, "ours", pixels(MAPS, (50, 30, 20)))
    fewer = record(tmp_path, "fewer", pixels(MAPS[:2], (50, 30, 20), heads=5))
    changed = record(tmp_path, "changed", pixels(np.roll(MAPS, 1), (50, 30, 20)))
    assert [other([ours], each) for each in (fewer, changed)] == [None, "ours"]


def test_the_pixels_of_each_class_must_be_as_many(tmp_path: Path) -> None:
    ours = record(tmp_path, "ours", pixels(MAPS, (50, 30, 20)))
    assert other([ours], record(tmp_path, "theirs", pixels(MAPS, (60, 20, 20)))) == "ours"


@pytest.mark.parametrize("truth", [np.arange(9) % 3, np.arange(11) % 3, np.array([-1, *np.arange(1, 10) % 3])])
def test_no_image_may_be_missing_added_or_unlabelled(tmp_path: Path, truth: np.ndarray) -> None:
    ours = record(tmp_path, "ours", {"truth": np.arange(10) % 3})
    same, changed = (record(tmp_path, name, {"truth": each}) for name, each in (("same", np.arange(10) % 3), ("changed", truth)))
    assert [other([ours], each) for each in (same, changed)] == [None, "ours"]


def test_the_images_that_find_the_map_count_too(tmp_path: Path) -> None:
    ours = record(tmp_path, "ours", {"truth": np.arange(4), "mapping/truth": np.arange(8)})
    theirs = record(tmp_path, "theirs", {"truth": np.arange(4), "mapping/truth": np.arange(8)[::-1]})
    assert other([ours], theirs) == "ours"


def test_other_data_and_records_without_labels_prove_nothing(tmp_path: Path) -> None:
    ours = [record(tmp_path, "bare"), record(tmp_path, "elsewhere", {"truth": np.zeros(3)}, fingerprint="beef")]
    truths = TrueLabels(ours)
    first, second = (record(tmp_path, name, {"truth": np.full(3, number)}) for number, name in enumerate(("first", "second")))
    assert truths.other(first, first.labels()) is None
    assert truths.other(second, second.labels()) == "first", "but what was met before does"
