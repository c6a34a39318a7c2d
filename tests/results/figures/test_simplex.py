"""The polygon of cluster probabilities: where things stand in it."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from numpy.testing import assert_allclose

from clusterbench.results.figures import simplex
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.figures.pixels import shown, weighted_means
from clusterbench.results.figures.probabilities import Probabilities
from clusterbench.results.record import Record

Ask = Callable[..., Request]


def texts(figure: object) -> set[str]:
    """Everything that is written in a figure."""
    from matplotlib.text import Text

    return {text.get_text() for text in figure.findobj(Text)}  # type: ignore[attr-defined]


def test_the_corners_of_a_square_are_top_right_bottom_and_left() -> None:
    assert_allclose(simplex.corners(4), [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-12)


def test_the_corners_of_a_triangle_are_equally_far_from_each_other() -> None:
    a, b, c = simplex.corners(3)
    assert_allclose([np.linalg.norm(a - b), np.linalg.norm(b - c), np.linalg.norm(c - a)], sqrt(3))


def test_a_sure_image_stands_in_its_corner_and_an_undecided_one_in_the_middle() -> None:
    assert_allclose(simplex.points(np.eye(5)), simplex.corners(5), atol=1e-12)
    assert_allclose(simplex.points(np.full((1, 5), 0.2)), [[0, 0]], atol=1e-12)


def test_an_image_between_two_clusters_stands_on_the_edge_between_them() -> None:
    assert_allclose(simplex.points(np.array([[0.25, 0.75, 0, 0]])), [[0.75, 0.25]], atol=1e-12)


def test_rounding_to_half_precision_moves_no_point() -> None:
    exact = np.random.default_rng(0).dirichlet(np.ones(10), 50)
    assert_allclose(simplex.points(exact.astype(np.float16)), simplex.points(exact), atol=1e-3)


def test_no_dot_is_moved_further_than_is_said() -> None:
    steps = np.linalg.norm(simplex._jitter(5_000), axis=1)
    assert 0.95 * simplex.JITTER < steps.max() <= simplex.JITTER
    assert_allclose(simplex._jitter(5_000), simplex._jitter(5_000))


@pytest.mark.parametrize("n", [2, 6, 7, 11, 46, 463])
def test_the_first_and_the_last_epoch_are_always_shown(n: int) -> None:
    found = simplex.spread_epochs(np.arange(n)).tolist()
    assert (found[0], found[-1]) == (0, n - 1)
    assert len(found) == min(n, simplex.MOST_PANELS)
    assert found == sorted(set(found))
    gaps = np.diff(found)
    assert (gaps[1:] >= gaps[:-1]).all()


def test_an_average_image_is_weighted_by_the_probability() -> None:
    random = np.random.default_rng(1)
    images, weights = random.integers(0, 256, (6, 3, 2, 2)).astype(np.uint8), random.random((6, 4))
    expected = [sum(weights[i, k] * images[i].astype(float) for i in range(6)) / weights[:, k].sum() for k in range(4)]
    assert_allclose(weighted_means(images, weights), expected)


def test_the_average_image_of_an_empty_cluster_is_black() -> None:
    assert not weighted_means(np.full((2, 1, 2, 2), 9, np.uint8), np.array([[1.0, 0], [1, 0]]))[1].any()


def test_images_are_shown_in_colour_whatever_their_channels() -> None:
    grey, infrared = np.full((1, 1, 2, 2), 7.6), np.arange(16).reshape(1, 4, 2, 2)
    assert shown(grey).tolist() == [[[[8] * 3] * 2] * 2]
    assert shown(infrared)[0, 0, 0].tolist() == [0, 4, 8]


def test_a_panel_for_each_epoch_with_the_classes_at_the_corners(pets: Record, ask: Ask) -> None:
    drawn = simplex.draw(pets, ask(pets))
    panels = [axes for axes in drawn.figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in panels] == ["before training", "epoch 1", "epoch 2"]
    for axes in panels:
        names = [text for text in axes.texts if text.get_text() in ("cat", "dog", "owl")]
        assert [text.get_text() for text in names] == ["cat", "dog", "owl"]
        x, y = np.array([text.get_position() for text in names]).T
        assert_allclose(np.arctan2(x, y) % (2 * np.pi), 2 * np.pi * np.arange(3) / 3, atol=0.25)


def test_dots_have_the_colour_of_their_class_and_stand_at_its_corner(pets: Record, ask: Ask) -> None:
    from matplotlib.colors import to_rgba

    from clusterbench.results.figures.style import class_colours

    axes = simplex.draw(pets, ask(pets)).figure.axes[2]
    dots = axes.collections[0]
    at, colours = np.asarray(dots.get_offsets()), dots.get_facecolors()
    truth = np.arange(30) % 3
    assert_allclose(at[:27], simplex.corners(3)[truth[:27]], atol=simplex.JITTER + 1e-6)
    assert_allclose(colours[:, :3], [to_rgba(class_colours(3)[label])[:3] for label in truth])
    assert np.linalg.norm(at[27:] - simplex.corners(3)[truth[27:]], axis=1).min() > 1  # the wrong ones are elsewhere


def test_without_the_images_it_is_drawn_all_the_same_and_says_so(pets: Record, ask: Ask) -> None:
    def missing(record: Record, rows: np.ndarray) -> np.ndarray:
        raise Cannot("pets are not here", "bench data prepare pets")

    drawn = simplex.draw(pets, ask(pets, images=missing))
    assert not any(axes.images for axes in drawn.figure.axes)
    assert [(each.why, each.remedy) for each in drawn.remarks] == [
        ("drawn without average images: pets are not here", "bench data prepare pets")
    ]


def test_a_single_epoch_is_refused_with_the_command_for_more(pets: Record, ask: Ask) -> None:
    kept = Probabilities.read(pets.folder)
    assert kept is not None
    kept.chosen(np.array([2])).write(pets.folder)
    with pytest.raises(Cannot, match="only the last epoch") as refusal:
        simplex.draw(pets, ask(pets))
    assert "--dataset pets" in refusal.value.remedy
    assert refusal.value.remedy.endswith("--snapshots 1 --force")


def test_another_sub_head_is_matched_by_itself(pets: Record, ask: Ask) -> None:
    kept = Probabilities.read(pets.folder)
    assert kept is not None
    turned = kept.values.copy()
    turned[1] = turned[1][:, [1, 2, 0]]  # another sub-head numbers its clusters in another way
    Probabilities(kept.rows, kept.epochs, np.array([1, 0, 1]), turned).write(pets.folder)
    figure = simplex.draw(pets, ask(pets)).figure
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == [
        "before training, sub-head 1",
        "epoch 1, sub-head 0",
        "epoch 2, sub-head 1",
    ]
    dots = np.asarray(figure.axes[1].collections[0].get_offsets())
    expected = 0.55 * simplex.corners(3)[np.arange(27) % 3]  # 0.7 of its corner and 0.15 of the two others
    assert_allclose(dots[:27], expected, atol=simplex.JITTER + 1e-3)


def test_the_small_print_says_what_was_drawn(pets: Record, ask: Ask) -> None:
    (facts,) = (text for text in texts(simplex.draw(pets, ask(pets)).figure) if text.startswith("iic on pets"))
    for part in ("protocol full", "budget paper", "seed 0", "selection last epoch (no labels)", "recorded 2025-06-01"):
        assert part in facts.replace("\n", " ")


def test_where_corners_are_many_neighbours_of_a_class_share_one_name_in_their_middle() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    simplex._name_classes(axes, ["a"] * 5 + ["b"] * 1 + ["c"] * 10, side=0.2)
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c"]
    angles = [np.degrees(np.arctan2(*text.get_position())) % 360 for text in axes.texts]
    assert_allclose(angles, [2 * 360 / 16, 5 * 360 / 16, 10.5 * 360 / 16])
    assert len({round(float(np.linalg.norm(text.get_position())), 9) for text in axes.texts}) == 1
