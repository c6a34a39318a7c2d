"""What may be averaged, and which group of runs fills a cell."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from clusterbench.results.groups import deviations, group_records, preferred, split_counted, spread_of, why_left_out
from clusterbench.results.record import Record

MakeRecord = Callable[..., Record]


def test_seeds_of_one_setting_are_one_group(make_record: MakeRecord) -> None:
    accs = [0.8, 0.9, 0.85]
    (group,) = group_records([make_record(seed=seed, acc=acc) for seed, acc in enumerate(accs)])
    spread = group.spread("acc")
    assert spread is not None and group.n == 3
    assert spread.mean == pytest.approx(0.85) and spread.std == pytest.approx(statistics.stdev(accs))
    assert spread.in_percent == "85.0 ± 5.0"


@pytest.mark.parametrize("differing", [
    {"preset": "short"}, {"protocol": "split"}, {"overrides": {"epochs": 5}}, {"config": {"epochs": 5}},
    {"data_fingerprint": "e" * 64}, {"method_version": 2}, {"n_clusters": 20}, {"time_limit_s": 60.0}, {"dataset": "digits"},
    {"method": "kmeans"}, {"metrics_version": 2},
])  # fmt: skip
def test_what_differs_in_more_than_the_seed_is_never_averaged(make_record: MakeRecord, differing: dict[str, Any]) -> None:
    groups = group_records([make_record(seed=0), make_record(seed=1, **differing)])
    assert [group.n for group in groups] == [1, 1]


def test_two_laboratories_are_never_averaged_and_named(make_record: MakeRecord) -> None:
    ours = [make_record(seed=seed) for seed in range(2)]
    theirs = [make_record(seed=seed, origin={"lab": "oxford"}) for seed in range(3)]
    groups = {group.lab: group for group in group_records([*ours, *theirs])}
    assert {lab: group.n for lab, group in groups.items()} == {None: 2, "oxford": 3}
    assert groups[None].name == "paper, full, n=2" and groups["oxford"].name == "paper, full, n=3 (lab oxford)"


def test_the_same_configuration_by_preset_and_by_set_is_one_group(make_record: MakeRecord) -> None:
    """A seed that was run with `--set` before the preset had the value belongs to the others."""
    by_set = make_record(seed=0, overrides={"epochs": 5})
    (group,) = group_records([by_set, make_record(seed=1, config={"epochs": 5})])
    assert group.n == 2 and group.spec["overrides"] == {}


def test_the_order_of_settings_in_a_file_does_not_split_a_group(make_record: MakeRecord) -> None:
    (group,) = group_records([make_record(seed=0, config={"a": 1, "b": 2}), make_record(seed=1, config={"b": 2, "a": 1})])
    assert group.n == 2


def test_a_seed_that_was_run_twice_counts_once_and_the_newest_counts(make_record: MakeRecord) -> None:
    (group,) = group_records([make_record(acc=0.9, created="2025-02-01"), make_record(acc=0.5, created="2025-01-01")])
    assert (group.n, group.spread("acc")) == (1, spread_of([0.9]))


def test_one_seed_has_no_spread(make_record: MakeRecord) -> None:
    (group,) = group_records([make_record(acc=0.5)])
    spread = group.spread("acc")
    assert spread is not None and spread.std is None and spread.in_percent == "50.0"


def test_a_seed_without_a_score_is_not_averaged_away() -> None:
    assert spread_of([0.5, None]) is None
    assert spread_of([]) is None


def test_failed_running_and_interrupted_runs_do_not_count_but_are_named(make_record: MakeRecord) -> None:
    error = {"type": "Diverged", "message": "the loss\nis not finite"}
    records = [
        make_record(seed=0),
        make_record(seed=1, status="failed", error=error, epochs_done=2),
        make_record(seed=2, status="running", epochs_done=1),
        make_record(seed=3, status="stopped", stop_reason="interrupted", epochs_done=1),
        make_record(seed=4, status="stopped", stop_reason="time limit", epochs_done=2),
    ]
    counted, left_out = split_counted(records)
    assert [record.spec["seed"] for record in counted] == [0, 4]
    assert [why_left_out(record) for record in left_out] == [
        "iic-mnist-paper-s1: failed after 2 of 3 epochs (Diverged: the loss is not finite)",
        "iic-mnist-paper-s2: still running, or killed, after 1 of 3 epochs; the same command goes on with it",
        "iic-mnist-paper-s3: interrupted after 1 of 3 epochs; the same command goes on with it",
    ]


@pytest.mark.parametrize(("better", "worse"), [
    ({"preset": "paper"}, {"preset": "short", "seeds": 5}),
    ({"preset": "short"}, {"preset": "smoke", "seeds": 5}),
    ({"preset": "smoke"}, {"preset": "mine", "seeds": 5}),
    ({"preset": "paper", "protocol": "split"}, {"preset": "short", "protocol": "full"}),
    ({"protocol": "full"}, {"protocol": "split", "seeds": 5}),
    ({"overrides": {}}, {"overrides": {"lr": 1}, "seeds": 5}),
    ({"origin": None}, {"origin": {"lab": "oxford"}, "seeds": 5, "created": "2025-09-01"}),
    ({"origin": {"lab": "oxford"}}, {"overrides": {"lr": 1}, "seeds": 5}),
    ({"config": {"a": 1}, "seeds": 3}, {"config": {"a": 2}, "seeds": 2, "created": "2025-09-01"}),
    ({"config": {"a": 1}, "created": "2025-02-01"}, {"config": {"a": 2}, "created": "2025-01-01"}),
])  # fmt: skip
def test_the_rule_for_which_group_fills_a_cell(make_record: MakeRecord, better: dict[str, Any], worse: dict[str, Any]) -> None:
    def of(about: dict[str, Any]) -> list[Record]:
        settings = {name: value for name, value in about.items() if name != "seeds"}
        return [make_record(seed=seed, **settings) for seed in range(about.get("seeds", 1))]

    for records in (of(better) + of(worse), of(worse) + of(better)):
        first = preferred(group_records(records), "full")[0].records[0]
        assert (first.spec, first.lab) == (of(better)[0].spec, of(better)[0].lab)


def test_the_protocol_of_the_published_number_comes_first(make_record: MakeRecord) -> None:
    groups = group_records([make_record(protocol="full"), make_record(protocol="split")])
    assert [group.spec["protocol"] for group in preferred(groups, "split")] == ["split", "full"]


def test_deviations_are_told(make_record: MakeRecord) -> None:
    data = {"n_classes": 10, "notes": ["re-encoded as JPEG"]}
    about: dict[str, Any] = {"overrides": {"lr": 0.1, "epochs": 2}, "n_clusters": 20, "provenance": {"data": data}}
    stopped = make_record(seed=1, status="stopped", stop_reason="time limit", epochs_done=2, **about)
    (group,) = group_records([make_record(seed=0, **about), stopped])
    assert deviations(group) == [
        "Changed settings: lr=0.1, epochs=2.",
        "20 clusters for 10 classes: ACC matches at most 10 of them.",
        "2 seeds: too few for a claim.",
        "Seed 1 was stopped by its time limit after 2 of 3 epochs.",
        "Data: re-encoded as JPEG",
    ]


def test_three_undisturbed_seeds_need_no_note(make_record: MakeRecord) -> None:
    (group,) = group_records([make_record(seed=seed) for seed in range(3)])
    assert deviations(group) == []


def test_the_selection_gap_is_oracle_minus_own_loss(make_record: MakeRecord) -> None:
    (group,) = group_records([make_record(seed=0, acc=0.8, oracle=0.9), make_record(seed=1, acc=0.6, oracle=0.65)])
    assert group.selection_gap == pytest.approx(0.075)
    assert group.cost("total_seconds") == 90.0 and group.cost("energy_joules") is None
