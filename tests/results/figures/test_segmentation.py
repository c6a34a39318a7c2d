"""Label maps side by side: one colour for each class, and grey where nothing is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal

from clusterbench.results.figures import segmentation
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.figures.style import FAINT, IGNORED, class_colours
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]
TRUTH = np.stack([np.array([[0, 1], [2, -1]])] * 3 + [np.full((2, 2), -1)])


@pytest.fixture
def make_maps(make_trial: Make) -> Make:
    """A record of segmentation whose clusters are the classes, renamed by `order`: cluster `order[c]` is class c."""

    def make(order: tuple[int, int, int], *, acc: float, **given: Any) -> Record:
        clusters = np.array(order)[np.maximum(TRUTH, 0)][None]
        counts = np.zeros((1, 3, 3), np.int64)
        counts[0, list(order), [0, 1, 2]] = 9
        labels = {"truth": TRUTH, "rows": np.array([0, 4, 8, 9]), "own-loss": clusters, "own-loss/head": 0,
                  "own-loss/confusion": counts, "own-loss/sizes": counts.sum(2)}  # fmt: skip
        record = make_trial(acc=acc, task="segmentation", labels=labels, **given)
        record.metrics["own-loss"]["miou"] = acc / 2
        return record

    return make


def panels(figure: Any) -> dict[str, list[np.ndarray]]:
    """The pictures of each column from above, by the first line of its heading."""
    columns: dict[float, list[Any]] = {}
    for axes in figure.axes:
        columns.setdefault(axes.get_subplotspec().colspan.start, []).append(axes)
    return {
        column[0].get_title().split("\n")[0]: [np.asarray(axes.images[0].get_array()) for axes in column]
        for column in columns.values()
    }


def test_all_methods_have_the_colours_of_the_truth(make_maps: Make, ask: Ask) -> None:
    worse, better = make_maps((2, 0, 1), acc=0.5, method="worse"), make_maps((1, 2, 0), acc=0.7, method="better")
    (job,) = segmentation.jobs(ask(worse, better))
    found = panels(job.draw().figure)
    assert list(found) == ["image", "truth", "better", "worse"]
    for ours in (found["better"], found["worse"]):
        assert_allclose(ours, found["truth"])  # both are right everywhere, under other names of the clusters
    blue, orange, green = (to_rgb(colour) for colour in class_colours(3))
    assert_allclose(found["truth"][0], [[blue, orange], [green, to_rgb(IGNORED)]])


def test_a_wrong_map_has_the_colour_of_the_class_that_it_says() -> None:
    labels, truth = np.array([[[1, -1, 0]]]), np.array([[[0, 0, -1]]])
    assert_allclose(segmentation.coloured(labels, truth, 3)[0, 0], [to_rgb(class_colours(3)[1]), to_rgb(FAINT), to_rgb(IGNORED)])


def test_the_images_of_the_kept_rows_are_asked_for(make_maps: Make, ask: Ask) -> None:
    record = make_maps((0, 1, 2), acc=0.9)
    pictures = panels(segmentation.jobs(ask(record))[0].draw().figure)["image"]
    assert [int(picture[0, 0, 0]) for picture in pictures] == [0, 4, 8]  # row 9 has no judged pixel


def test_images_are_spread_over_what_is_kept() -> None:
    truth = np.zeros((16, 1, 1), int)
    assert segmentation.spread_images(truth).tolist() == [0, 5, 10, 15]
    truth[0] = truth[15] = -1
    assert_array_equal(segmentation.spread_images(truth), [1, 5, 10, 14])


def test_any_number_of_methods_stands_side_by_side_best_first(make_maps: Make, ask: Ask) -> None:
    records = [make_maps((0, 1, 2), acc=0.3 + i / 50, method=f"m{i}", seed=i) for i in range(13)]
    figure = segmentation.jobs(ask(*records))[0].draw().figure
    tops = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title().split("\n")[0] for axes in tops] == ["image", "truth", *(f"m{i}" for i in reversed(range(13)))]
    assert len(figure.axes) == 3 * 15 and max(axes.get_subplotspec().colspan.start for axes in figure.axes) == 7
    blocks = [axes.get_subplotspec().rowspan.start for axes in tops]
    assert blocks == [0] * 8 + [3] * 7  # three images, then the next columns below
    for axes in tops[2:]:
        assert_allclose(axes.images[0].get_array(), tops[1].images[0].get_array())


def test_changed_settings_are_told_at_the_column(make_maps: Make, ask: Ask) -> None:
    record = make_maps((0, 1, 2), acc=0.9)
    record.spec["overrides"] = {"kmeans.batch": 1}
    heading = segmentation.jobs(ask(record))[0].draw().figure.axes[2].get_title()
    assert heading.split("\n")[1] == "paper preset, batch=1"


def test_scores_and_classes_are_named(make_maps: Make, ask: Ask) -> None:
    figure = segmentation.jobs(ask(make_maps((0, 1, 2), acc=0.9)))[0].draw().figure
    assert figure.axes[2].get_title() == "iic\npaper preset\nACC 90.0 %, mIoU 45.0 %"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog", "owl", "not judged"]


def test_without_the_images_the_maps_are_drawn_all_the_same(make_maps: Make, ask: Ask) -> None:
    def missing(record: Record, rows: np.ndarray) -> np.ndarray:
        raise Cannot("pets are not here", "bench data prepare pets")

    drawn = segmentation.jobs(ask(make_maps((0, 1, 2), acc=0.9), images=missing))[0].draw()
    assert list(panels(drawn.figure)) == ["truth", "iic"]
    assert [each.why for each in drawn.remarks] == ["drawn without the images: pets are not here"]


def test_other_copies_and_protocols_of_a_data_set_are_other_figures(make_maps: Make, ask: Ask) -> None:
    records = [make_maps((0, 1, 2), acc=0.9, seed=seed, **about)
               for seed, about in enumerate(({}, {"protocol": "split"}, {"data_fingerprint": "e" * 64}))]  # fmt: skip
    stems = {job.stem for job in segmentation.jobs(ask(*records))}
    assert stems == {"segmentation-pets-split", "segmentation-pets-ffffffff", "segmentation-pets-eeeeeeee"}


def test_maps_that_were_not_kept_are_missed(make_maps: Make, ask: Ask) -> None:
    record = make_maps((0, 1, 2), acc=0.9)
    (record.folder / "labels.npz").unlink()
    with pytest.raises(Cannot, match="not kept"):
        segmentation.jobs(ask(record))[0].draw()


def test_methods_without_maps_are_named_under_the_others(make_maps: Make, ask: Ask) -> None:
    bare, whole = make_maps((0, 1, 2), acc=0.9, method="bare"), make_maps((0, 1, 2), acc=0.5, method="whole")
    (bare.folder / "labels.npz").unlink()
    figure = segmentation.jobs(ask(bare, whole))[0].draw().figure
    assert list(panels(figure)) == ["image", "truth", "whole"]
    told = " ".join(text.get_text() for text in figure.texts)
    assert "not drawn: bare" in " ".join(told.split()) and "The best" not in told
