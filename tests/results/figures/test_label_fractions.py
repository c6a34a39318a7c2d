"""Accuracy against the share of labels and the number of clusters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from numpy.testing import assert_allclose

from clusterbench.results.figures import label_fractions
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.groups import group_records
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]


def mapped(make: Make, seed: int, accs: dict[float, float], k: int = 6, acc: float = 0.9, **more: Any) -> Record:
    """A record whose map saw shares of the labels."""
    record = make(
        protocol="semi-supervised", seed=seed, n_clusters=k, acc=acc, mapping={"kind": "many-to-one", "on": ["train"]}, **more
    )
    found = [{"fraction": share, "labels": 9, "draws": 10, "acc_mean": value, "acc_std": 0.04} for share, value in accs.items()]
    record.metrics["own-loss"]["label_fractions"] = found if accs else None
    return record


def points(container: Any) -> list[list[float]]:
    """x and y of a line with error bars."""
    line = container.lines[0]
    return [[float(value) for value in values] for values in (line.get_xdata(), line.get_ydata())]


def test_the_spread_is_over_the_seeds(make_trial: Make) -> None:
    records = [mapped(make_trial, 0, {1.0: 0.9, 0.1: 0.6}), mapped(make_trial, 1, {0.1: 0.8, 1.0: 0.9, 0.5: 0.85})]
    (group,) = group_records(records)
    found = label_fractions.fractions(group, "own-loss")
    assert [share for share, _ in found] == [0.1, 1.0]  # what both seeds have
    assert_allclose([each.mean for _, each in found], [0.7, 0.9])
    assert_allclose([each.std for _, each in found], [0.02**0.5, 0])


def test_a_single_seed_has_the_spread_of_its_draws(make_trial: Make) -> None:
    (group,) = group_records([mapped(make_trial, 0, {0.1: 0.6})])
    ((_, spread),) = label_fractions.fractions(group, "own-loss")
    assert (spread.mean, spread.std) == (0.6, 0.04)


def test_the_left_axis_is_logarithmic_and_the_right_one_relative_to_the_classes(make_trial: Make, ask: Ask) -> None:
    records = [mapped(make_trial, 0, {0.01: k / 20, 1.0: k / 10}, k, acc=k / 10, overrides={"n_clusters": k}) for k in (3, 9, 6)]
    (job,) = label_fractions.jobs(ask(*records))
    left, right = job.draw().figure.axes
    assert job.stem == "label-fractions-pets"
    assert left.get_xscale() == "log"
    assert [label.get_text() for label in left.get_legend().get_texts()] == [
        "iic, paper, 3 clusters",
        "iic, paper, 6 clusters",
        "iic, paper, 9 clusters",
    ]
    assert_allclose([points(line) for line in left.containers], [[[1, 100], y] for y in ([15, 30], [30, 60], [45, 90])])
    assert_allclose(points(right.containers[0]), [[100, 200, 300], [30, 60, 90]])


def test_other_settings_are_no_part_of_a_line_over_clusters(make_trial: Make) -> None:
    records = [mapped(make_trial, 0, {}, k, overrides={"n_clusters": k, "lr": lr}) for k, lr in ((3, 1), (6, 1), (6, 2))]
    series = label_fractions.by_clusters(group_records(records))
    assert sorted([group.spec["n_clusters"] for group in each] for each in series) == [[3, 6], [6]]


def test_nothing_to_compare_is_said(make_trial: Make, ask: Ask) -> None:
    (job,) = label_fractions.jobs(ask(mapped(make_trial, 0, {})))
    with pytest.raises(Cannot, match="several numbers of clusters"):
        job.draw()


def test_only_what_was_mapped_by_other_labels_takes_part(make_trial: Make, ask: Ask) -> None:
    learned = make_trial(protocol="semi-supervised", mapping={"kind": "identity", "on": ["train"]})
    assert label_fractions.jobs(ask(make_trial(), make_trial(protocol="split"), learned)) == []


def test_whose_labels_were_used_stands_in_the_small_print(make_trial: Make, ask: Ask) -> None:
    (job,) = label_fractions.jobs(ask(mapped(make_trial, 0, {1.0: 0.9})))
    facts = job.draw().figure.get_supxlabel().replace("\n", " ")
    assert "clusters mapped to classes by the labels of train" in facts
