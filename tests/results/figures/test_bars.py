"""Sample images with bars: which images are shown, and what the bars say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose

from clusterbench.results.figures import bars
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.figures.style import BLUE, VERMILLION
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]


def test_the_first_images_of_each_class_are_shown_class_by_class() -> None:
    truth = np.array([2, 2, 0, 1, 0, 2, 1, 0])
    everything = np.ones(8, bool)
    assert bars.sample(everything, truth, 3).tolist() == [2, 3, 0]
    assert bars.sample(everything, truth, 5).tolist() == [2, 4, 3, 6, 0]
    assert bars.sample(everything, truth, 20).tolist() == [2, 4, 7, 3, 6, 0, 1, 5]


def test_only_what_may_be_shown_is_shown() -> None:
    assert bars.sample(np.array([False, True, True]), np.array([0, 1, 0])).tolist() == [2, 1]
    assert bars.sample(np.zeros(3, bool), np.zeros(3, int)).tolist() == []


def test_right_and_wrong_images_stand_under_their_headings(pets: Record, ask: Ask) -> None:
    figure = bars.draw(pets, ask(pets)).figure
    headings = [text.get_text() for text in figure.texts]
    assert headings[:2] == ["✓  clustered as their class (90.0 % of the sample)", "✗  not (10.0 %)"]
    classes = [axes.get_title() for axes in figure.axes if axes.images]
    assert classes == ["cat"] * 4 + ["dog"] * 3 + ["owl"] * 3 + ["cat", "dog", "owl"]


def test_an_image_stands_beside_the_probabilities_of_its_own_row(pets: Record, ask: Ask) -> None:
    axes = bars.draw(pets, ask(pets)).figure.axes
    pictures, charts = axes[::2], axes[1::2]
    rows = [int(np.asarray(each.images[0].get_array())[0, 0, 0]) for each in pictures]  # as bright as its row's number
    assert rows == [0, 3, 6, 9, 1, 4, 7, 2, 5, 8, 27, 28, 29]
    for row, chart in zip(rows, charts, strict=True):
        labels = [label.get_text() for label in chart.get_yticklabels()]
        widths = [bar.get_width() for bar in chart.patches]
        said = ("dog", "owl", "cat")[row - 27] if row >= 27 else ("cat", "dog", "owl")[row % 3]
        assert labels[0] == said
        assert_allclose(widths, [1, 0, 0])


def test_the_colour_of_a_bar_says_whether_it_is_the_true_class(pets: Record, ask: Ask) -> None:
    from matplotlib.colors import to_rgba

    charts = bars.draw(pets, ask(pets)).figure.axes[1::2]
    assert charts[0].patches[0].get_facecolor() == to_rgba(BLUE)
    assert charts[-1].patches[0].get_facecolor() == to_rgba(VERMILLION)


def test_no_wrong_image_at_all_is_said(pets: Record, ask: Ask) -> None:
    labels = dict(pets.labels())
    labels["truth"] = np.array([2, 0, 1])[np.array([1, 2, 0])[labels["last"][1]]]
    np.savez(pets.folder / "labels.npz", **labels)
    figure = bars.draw(pets, ask(pets)).figure
    assert "✗  not (0.0 %): none" in [text.get_text() for text in figure.texts]


def test_without_snapshots_the_command_that_keeps_them_is_told(make_trial: Make, ask: Ask) -> None:
    record = make_trial(labels={"truth": np.zeros(3, int)})
    with pytest.raises(Cannot, match="no cluster probabilities") as refusal:
        bars.draw(record, ask(record))
    assert "--snapshots 1 --force" in refusal.value.remedy


def test_methods_without_probabilities_and_segmentation_are_not_asked_for_them(pets: Record, make_trial: Make, ask: Ask) -> None:
    kmeans, maps = make_trial(method="kmeans"), make_trial(method="maps", task="segmentation")
    request = ask(pets, kmeans, maps, gives_probabilities=lambda record: record.spec["method"] != "kmeans")
    assert [job.stem for job in bars.jobs(request)] == ["bars-iic-pets-paper-3-0"]
