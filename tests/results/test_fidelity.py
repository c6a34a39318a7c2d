"""Fidelity cards: differences in standard errors, what they are held against, and what stands beside the mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from scipy.stats import binomtest, ttest_1samp

from clusterbench.results.fidelity import Original, fidelity_card
from clusterbench.results.fidelity_numbers import method_of, numbers_of
from clusterbench.results.grid import Table
from clusterbench.results.published import published
from clusterbench.results.record import Record

MakeRecord = Callable[..., Record]
ACCS, ORACLES = (0.95, 0.97, 0.975, 0.96), (0.97, 0.98, 0.985, 0.96)


def card(records: Sequence[Record], dataset: str = "mnist", method: str = "iic", **given: object) -> Table:
    return fidelity_card(records, dataset, names=[method], numbers=numbers_of(method, dataset), **given)  # type: ignore[arg-type]


def seeds(make: MakeRecord, *accs: float, **given: object) -> list[Record]:
    return [make(seed=seed, acc=acc, **given) for seed, acc in enumerate(accs)]


def section(table: Table, beginning: str) -> tuple[str, ...]:
    return next((each.lines for each in table.sections if each.title.startswith(beginning)), ())


def test_the_difference_in_standard_errors_is_students_t(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=seed, acc=acc, oracle=oracle) for seed, (acc, oracle) in enumerate(zip(ACCS, ORACLES, strict=True))
    ]
    by_choice = {(fact["number"], fact["selection"]): fact for fact in card(records).facts}
    for selection, values in (("own-loss", ACCS), ("oracle", ORACLES)):
        fact = by_choice["ACC, lowest-loss sub-head (IIC, ICCV 2019, Table 1)", selection]
        test = ttest_1samp(values, 0.992)
        assert fact["standard_errors"] == pytest.approx(test.statistic)
        assert (abs(fact["standard_errors"]) > fact["critical"]) == (test.pvalue < 0.05)
        assert fact["difference"] == pytest.approx(100 * (sum(values) / 4 - 0.992))


def test_the_average_of_sub_heads_is_held_against_our_average_of_sub_heads(make_record: MakeRecord) -> None:
    facts = [fact for fact in card(seeds(make_record, *ACCS)).facts if "average of sub-heads" in fact["number"]]
    expected = ttest_1samp([acc - 0.02 for acc in ACCS], 0.984)  # the heads of these records are 0.02 below the chosen one
    assert facts[0]["standard_errors"] == pytest.approx(expected.statistic)
    assert "over the five sub-heads of one network" in facts[0]["notes"] and "not over runs" in facts[0]["notes"]


def test_two_seeds_have_no_standard_error(make_record: MakeRecord) -> None:
    table = card(seeds(make_record, 0.9, 0.95))
    assert all(fact["standard_errors"] is None for fact in table.facts)
    assert "2 seeds: too few for a claim (at least 3)." in table.footnotes


def test_seeds_that_agree_to_the_last_digit_have_no_standard_error(make_record: MakeRecord) -> None:
    table = card(seeds(make_record, 0.9, 0.9, 0.9))
    assert "The seeds do not differ, so the difference has no standard error." in table.footnotes
    assert table.facts[0]["difference"] == pytest.approx(-9.2)


def test_a_published_best_of_several_is_held_against_our_best_without_a_claim(make_record: MakeRecord) -> None:
    records = seeds(make_record, 0.7, 0.8, 0.75, method="scan", dataset="cifar10", protocol="split")
    table = card(records, "cifar10", "scan")
    (best,) = (fact for fact in table.facts if fact["published"] == 88.3)
    assert (best["ours"], best["standard_errors"]) == (80.0, None)
    assert "no standard error" in best["notes"]
    mean = next(fact for fact in table.facts if fact["published"] == 87.6)
    assert mean["ours"] == pytest.approx(75.0) and mean["standard_errors"] is not None


def test_shares_are_compared_in_the_unit_in_which_they_were_printed(make_record: MakeRecord) -> None:
    table = card(seeds(make_record, 0.6, 0.61, 0.62, dataset="cifar10"), "cifar10")
    row = next(row for row in table.rows if row.cells[0][0].text.startswith("NMI"))
    assert [cell[0].text for cell in row.cells[1:5]] == ["own loss", "0.511", "0.510 ± 0.010", "-0.001"]


def test_every_published_number_of_a_method_reaches_a_card() -> None:
    for number in published():
        if number.method is not None:
            assert number in numbers_of(str(method_of(number)), number.our_dataset)
    assert {number.value for number in numbers_of("iic", "coco-stuff")} == {27.7}  # the page calls it coco-stuff-15


def test_the_number_of_a_fine_tuned_network_is_not_that_of_clustering() -> None:
    assert 88.8 not in {number.value for number in numbers_of("iic", "stl10")}
    assert 88.8 in {number.value for number in numbers_of("iic-finetune", "stl10")}


def test_numbers_of_pixels_belong_to_the_variant_for_pixels() -> None:
    assert {number.value for number in numbers_of("iic", "potsdam-3@sample", per_pixel=True)} == {65.1, 45.4}
    assert numbers_of("iic", "mnist", per_pixel=True) == []


def test_collapsed_seeds_stand_beside_the_mean_with_their_interval(make_record: MakeRecord) -> None:
    records = [
        make_record(seed=seed, acc=acc, diagnostics={"collapsed": acc < 0.5}) for seed, acc in enumerate((0.9, 0.2, 0.95, 0.92))
    ]
    interval = binomtest(1, 4).proportion_ci(method="wilson")
    told = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
    table = card(records)
    assert f"Collapse: 1 of 4 seeds (seed 1), 95 % interval of the rate {told}." in section(table, "Selection gap")
    assert (table.facts[0]["collapsed"], table.facts[0]["collapse_known"]) == (1, 4)


def test_records_of_before_diagnostics_claim_no_rate(make_record: MakeRecord) -> None:
    told = section(card(seeds(make_record, 0.9, 0.95, 0.92)), "Selection gap")
    assert told[-1] == "Collapse: these records do not tell; clusters used: 10, 10, 10 of 10."


def test_the_selection_gap_is_told_with_both_means(make_record: MakeRecord) -> None:
    records = [make_record(seed=seed, acc=0.9, oracle=0.95) for seed in range(3)]
    told = "Selection gap: +5.0 points (ACC 90.0 ± 0.0 by its own loss, 95.0 ± 0.0 by labels)."
    assert told in section(card(records), "Selection gap")


def test_every_setting_that_differs_from_the_original_is_listed(make_record: MakeRecord) -> None:
    records = seeds(make_record, 0.9, preset="short", protocol="split", config={"epochs": 3, "views": {"crop": 20, "flip": 0.5}})
    paper = {"epochs": 462, "views": {"crop": 20, "flip": 0.0}, "later": 1}
    changes = {"paper": ["as the code ran"], "short": ["fewer epochs"], "smoke": ["nothing of ours"]}
    lines = section(card(records, original=Original(changes, paper)), "Deviations")
    assert lines[0] == "Protocol split; the published numbers are under full."
    assert lines[2:] == (
        "Preset paper: as the code ran", "Preset short: fewer epochs", "Setting epochs: 3; preset paper: 462",
        "Setting views.flip: 0.5; preset paper: 0.0", "Settings that came later than these runs: later.",
    )  # fmt: skip


def test_a_sample_of_the_data_is_a_deviation(make_record: MakeRecord) -> None:
    lines = section(card(seeds(make_record, 0.9, dataset="cifar10@sample"), "cifar10@sample"), "Deviations")
    assert lines[0] == "Data: cifar10@sample, a sample of cifar10."


def test_failed_seeds_and_other_settings_are_named_and_in_no_mean(make_record: MakeRecord) -> None:
    failed = make_record(seed=7, status="failed", acc=0.1, error={"type": "Diverged", "message": "not finite"})
    other = make_record(seed=0, acc=0.2, overrides={"lr": 0.1}, config={"lr": 0.1})
    table = card([*seeds(make_record, 0.9, 0.91, 0.92), failed, other])
    assert table.facts[0]["ours"] == pytest.approx(91.0)
    assert section(table, "Not averaged") == ("iic-mnist-paper-s7: failed after 3 of 3 epochs (Diverged: not finite)",)
    assert section(table, "Runs that are not") == ("iic, paper, full, n=1, changed lr=0.1",)


def test_every_record_of_the_mean_is_linked(make_record: MakeRecord) -> None:
    assert section(card(seeds(make_record, 0.9, 0.95)), "Records") == (
        "seed 0: ACC 90.0 (iic-mnist-paper-s0)", "seed 1: ACC 95.0 (iic-mnist-paper-s1)",
    )  # fmt: skip


def test_a_card_without_runs_has_the_numbers_and_the_command() -> None:
    table = card([], command="bench run --method iic --dataset mnist")
    assert [row.cells[2][0].text for row in table.rows] == ["99.2", "98.4 ± 0.652", "99.3"]
    assert [row.cells[3][0].text for row in table.rows] == ["no run"] * 3
    assert section(table, "To fill it") == ("bench run --method iic --dataset mnist",)
