"""Learning curves: the lines that are drawn are the means that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

import pytest
from numpy.testing import assert_allclose

from clusterbench.results.figures import curves
from clusterbench.results.figures.jobs import Cannot, Request
from clusterbench.results.groups import Group
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]
WEIGHTS = {"entropy_weight": 1.5, "auxiliary_entropy_weight": 1.0, "auxiliary_clusters": 7}


def rows(*accs: list[float], chosen: int = 0, **more: Any) -> list[dict[str, Any]]:
    """A row for each epoch; the loss of a sub-head is minus its accuracy."""
    return [
        {
            "epoch": number,
            "losses": {"auxiliary": [-1.0] * len(acc), "main": [-each for each in acc]},
            "acc": acc,
            "chosen_head": chosen,
            **more,
        }
        for number, acc in enumerate(accs, start=1)
    ]


def words(axes: Any) -> list[str]:
    """What is written into some axes, with the hyphens that keyboards have for minus signs."""
    return [text.get_text().replace("\N{MINUS SIGN}", "-") for text in axes.texts]


def lines(axes: Any) -> dict[str, list[float]]:
    """The named lines of some axes."""
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines if not line.get_label().startswith("_")}


@pytest.fixture
def two_seeds(make_trial: Make) -> Group:
    first = make_trial(seed=0, config=WEIGHTS, rows=rows([0.2, 0.4], [0.6, 0.4], [0.8, 0.6]))
    second = make_trial(seed=1, config=WEIGHTS, rows=rows([0.5, 0.3], [0.7, 0.8], chosen=1))
    return Group((first, second))


def test_the_thick_line_is_the_mean_over_seeds_of_the_sub_head_that_the_loss_chose(two_seeds: Group) -> None:
    accuracy = lines(curves.draw(two_seeds).figure.axes[1])
    assert_allclose(accuracy["sub-head of lowest loss"], [25, 70])  # (20 + 30) / 2, (60 + 80) / 2; one seed has no third
    assert_allclose(accuracy["mean of sub-heads"], [35, 62.5])


def test_every_sub_head_of_every_seed_is_a_thin_line(two_seeds: Group) -> None:
    thin = [line for line in curves.draw(two_seeds).figure.axes[1].lines if line.get_linewidth() < 1]
    assert sorted(list(line.get_ydata()) for line in thin) == [[20, 60, 80], [30, 80], [40, 40, 60], [50, 70]]


def test_the_band_is_the_sample_standard_deviation_over_the_seeds(two_seeds: Group) -> None:
    band = curves.draw(two_seeds).figure.axes[1].collections[0].get_paths()[0].vertices
    at_first = sorted({round(y, 6) for x, y in band if x == 1})
    assert_allclose([at_first[0], at_first[-1]], [25 - 50**0.5, 25 + 50**0.5], rtol=1e-5)


def test_the_bound_of_the_information_loss_is_drawn_and_named(two_seeds: Group) -> None:
    axes = curves.draw(two_seeds).figure.axes[0]
    level = {round(float(line.get_ydata()[0]), 6) for line in axes.lines if list(line.get_xdata()) == [0, 1]}
    assert level == {round(-2 * log(3), 6), round(-log(7), 6)}
    assert words(axes) == ["lowest possible: -2 ln 3 = -2.197", "lowest possible: -ln 7 = -1.946"]


def test_a_bound_that_an_epoch_names_is_drawn(make_trial: Make) -> None:
    record = make_trial(rows=rows([0.5], [0.6], loss_floors={"main": -3.25}))
    assert words(curves.draw(Group((record,))).figure.axes[0]) == ["lowest possible: -3.250"]


def test_the_authors_curve_lies_over_ours_where_there_is_one(make_trial: Make) -> None:
    record = make_trial(dataset="mnist", n_clusters=10, rows=rows(*([[0.9]] * 12)))
    axes = curves.draw(Group((record,))).figure.axes[1]
    theirs = {line.get_label(): line for line in axes.lines if "685" in str(line.get_label())}
    best, mean = theirs["authors' run 685: best sub-head by labels"], theirs["authors' run 685: mean of sub-heads"]
    assert list(zip(best.get_xdata()[:3], best.get_ydata()[:3], strict=True)) == [(1, 85.6), (5, 99.0), (10, 99.1)]
    assert mean.get_ydata()[1] == 96.3
    assert axes.get_xlim()[1] < 13


@pytest.mark.parametrize("about", [{"method": "kmeans"}, {"protocol": "split"}, {"dataset": "digits"}])
def test_no_curve_of_the_authors_lies_over_what_they_did_not_do(make_trial: Make, about: dict[str, str]) -> None:
    record = make_trial(**{"dataset": "mnist", **about}, rows=rows([0.5], [0.6]))
    assert curves.authors_run(Group((record,))) == ()


def test_unlabelled_trials_have_a_curve_of_their_loss_alone(make_trial: Make) -> None:
    unlabelled = [{**row, "acc": [None]} for row in rows([0.5], [0.6])]
    figure = curves.draw(Group((make_trial(acc=None, rows=unlabelled),))).figure
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Training loss"]


def test_one_epoch_is_no_curve(make_trial: Make) -> None:
    with pytest.raises(Cannot, match="only one epoch"):
        curves.draw(Group((make_trial(rows=rows([0.5])),)))


def test_settings_that_would_share_a_file_name_are_told_apart_by_their_records(make_trial: Make, ask: Ask) -> None:
    plain, changed = make_trial(id="a" * 12), make_trial(id="b" * 12, overrides={"lr": 1})
    stems = [job.stem for job in curves.jobs(ask(plain, changed))]
    assert stems == [f"curves-iic-pets-paper-{'a' * 12}", f"curves-iic-pets-paper-{'b' * 12}"]
    assert [job.stem for job in curves.jobs(ask(plain))] == ["curves-iic-pets-paper"]
