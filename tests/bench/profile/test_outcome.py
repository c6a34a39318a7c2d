"""Figures are printed with the digits that count, goals are judged, and nothing is lost on the way through JSON."""

from __future__ import annotations

import json

import pytest

from clusterbench.bench.profile.outcome import Goal, Outcome, markdown, show, shown
from clusterbench.bench.terminal import plain

OUTCOME = Outcome(
    "steps",
    "A title",
    "cpu, 1 thread",
    ({"method": "iic", "ms": 1234.5}, {"method": "ae", "ms": None, "why not": "no data"}),
    (Goal("ratio", 1.1, 1.15), Goal("rate", 2.0, 2.5, at_most=False)),
)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (None, "-"),
        ("iic", "iic"),
        (12345, "12,345"),
        (1234.5, "1,234"),
        (12.345, "12.35"),
        (1.2345, "1.234"),
        (1e-4, "1.0e-04"),
        (0.0, "0.000"),
    ],
)
def test_figure_has_the_digits_that_count(figure: str | float | None, text: str) -> None:
    assert shown(figure) == text


@pytest.mark.parametrize(
    ("value", "at_most", "is_met"), [(1.0, True, True), (1.2, True, False), (1.2, False, True), (1.0, False, False)]
)
def test_goal_is_judged_by_its_direction(value: float, at_most: bool, is_met: bool) -> None:
    goal = Goal("what", value, 1.1, at_most)
    assert goal.is_met is is_met
    assert str(goal).endswith("met" if is_met else "MISSED")


def test_columns_of_later_rows_stand_last() -> None:
    assert OUTCOME.columns == ("method", "ms", "why not")
    assert list(OUTCOME.cells()) == [("iic", "1,234", "-"), ("ae", "-", "no data")]


def test_json_and_back_is_the_same() -> None:
    assert Outcome.from_dict(json.loads(json.dumps(OUTCOME.as_dict()))) == OUTCOME


def test_terminal_and_page_say_the_same() -> None:
    terminal, page = plain(show([OUTCOME])), markdown(OUTCOME)
    for text in ("A title", "cpu, 1 thread", "1,234", "no data", "ratio: 1.100, at most 1.150: met", "MISSED"):
        assert text in terminal and text in page
    assert "| iic | 1,234 | - |\n" in page
