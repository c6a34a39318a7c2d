"""Tables 3 and 4: classifiers and label maps, which stand beside no clustering of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clusterbench.results.grid import Table
from clusterbench.results.record import Record
from clusterbench.results.tables import Here, SuiteRow, tables

MakeRecord = Callable[..., Record]
FINETUNE, FOLDS, RANDOM = (
    "IIC plus finetune",
    "IIC plus finetune, ten folds of 1,000 labels",
    "The same network from random weights",
)
HERE = Here(
    suites={
        3: [
            SuiteRow("", "exemplar-finetune"),
            SuiteRow("", "deepcluster-finetune"),
            SuiteRow("Cutout 2017", "cutout"),
            SuiteRow(FINETUNE, "iic-finetune"),
            SuiteRow(RANDOM, "iic-finetune", {"base_training": False}),
            SuiteRow("", "deepcluster-finetune", {"frozen_trunk": True, "hidden": 0}),
            SuiteRow("", "iic-finetune", {"label_fraction": 0.1}),
        ]
    },
    methods={
        "iic-finetune": "semi-supervised",
        "deepcluster": "clustering",
        "deepcluster-finetune": "semi-supervised",
        "swwae-finetune": "semi-supervised",
        "iic-segmentation": "segmentation",
        "iic": "clustering",
    },
    variants={"iic": "iic-segmentation"},
)
LEARNED = {"task": "semi-supervised", "protocol": "semi-supervised"}


def filled(table: Table, column: str) -> list[str]:
    index = table.columns.index(column)
    return [row.cells[0][0].text for row in table.rows if any(line.role == "ours" for line in row.cells[index])]


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        ({}, FINETUNE),
        ({"base_training": False}, RANDOM),
        ({"fold": "by-seed"}, FOLDS),
        ({"epochs": 2}, FINETUNE),
        ({"label_fraction": 0.1}, f"{FINETUNE}, 10 % of the labels"),
        ({"label_fraction": 0.005}, f"{FINETUNE}, 0.5 % of the labels"),
        ({"label_fraction": 0.005, "base_training": False}, f"{RANDOM}, 0.5 % of the labels"),
    ],
)
def test_a_classifier_belongs_to_the_row_of_its_settings(make_record: MakeRecord, changed: dict[str, Any], row: str) -> None:
    config = {"base_training": True, "fold": None, "epochs": 5, "label_fraction": 1.0, **changed}
    (table,) = tables([make_record("iic-finetune", "stl10", config=config, overrides=changed, **LEARNED)], [3], here=HERE)
    assert filled(table, "stl10") == [row]


def test_a_run_on_one_fold_alone_stands_in_no_row(make_record: MakeRecord) -> None:
    (table,) = tables(
        [make_record("iic-finetune", "stl10", config={"fold": 0}, overrides={"fold": 0}, **LEARNED)], [3], here=HERE
    )
    assert filled(table, "stl10") == []


def test_a_linear_probe_has_the_row_of_its_system(make_record: MakeRecord) -> None:
    probe = {"frozen_trunk": True, "hidden": 0}
    (table,) = tables([make_record("deepcluster-finetune", "mnist", config=probe, overrides=probe, **LEARNED)], [3], here=HERE)
    assert filled(table, "mnist") == ["DeepCluster, linear probe"]


def test_a_system_known_over_the_folds_alone_has_a_row_with_all_labels_where_it_can_be_run(make_record: MakeRecord) -> None:
    record = make_record("swwae-finetune", "stl10", config={"fold": None}, **LEARNED)
    (table,) = tables([record], [3], here=HERE)
    assert filled(table, "stl10") == ["SWWAE"]


def test_a_clustering_stands_in_no_table_of_classifiers(make_record: MakeRecord) -> None:
    (table,) = tables([make_record("deepcluster", "stl10", protocol="semi-supervised")], [3], here=HERE)
    assert filled(table, "stl10") == []


def test_systems_and_runs_of_the_suite_that_mean_the_same_share_a_row() -> None:
    (table,) = tables([], [3], here=HERE)
    rows = [row.cells[0][0].text for row in table.rows]
    # eleven published numbers, SWWAE with all labels, and of the suite the control, a probe and a share of the labels
    assert len(rows) == len(set(rows)) == 11 + 1 + 3
    assert not {"exemplar-finetune", "deepcluster-finetune", "cutout"} & set(rows)


def test_both_numbers_of_a_system_keep_their_rows(look: Any) -> None:
    (table,) = tables([], [3], here=HERE)
    assert look.texts(look.cell(table, FINETUNE, "stl10"), "published") == ["88.8"]
    assert look.texts(look.cell(table, FOLDS, "stl10"), "published") == ["79.2"]
    assert "The results page of the IIC paper gives the same." in look.notes(
        table, look.cell(table, FINETUNE, "stl10"), "published"
    )


def test_segmentation_fills_table_4_under_the_name_of_its_variant(look: Any, make_record: MakeRecord) -> None:
    records = [make_record("iic-segmentation", "potsdam-3", task="segmentation", seed=seed, acc=0.6) for seed in range(3)]
    table, _ = tables(records, [4], here=HERE)
    assert look.texts(look.cell(table, "IIC", "potsdam-3"), "ours") == ["ours 60.0 ± 0.0"]
    assert all(filled(each, each.columns[1]) == [] for each in tables(records, [1, 2, 3], here=HERE))


def test_the_sample_of_a_data_set_never_stands_under_its_name(look: Any, make_record: MakeRecord) -> None:
    table, _ = tables([make_record("iic-segmentation", "potsdam@sample", task="segmentation")], [4], here=HERE)
    assert look.texts(look.cell(table, "IIC", "potsdam"), "ours") == []
    assert look.texts(look.cell(table, "IIC", "potsdam@sample"), "published") == ["-"]


def test_the_mean_iou_has_its_own_rows(look: Any, make_record: MakeRecord) -> None:
    record = make_record("iic-segmentation", "coco-stuff-171", task="segmentation", acc=0.16)
    record.metrics["own-loss"]["miou"] = 0.025
    table, further = tables([record], [4], here=HERE)
    assert look.texts(look.cell(further, "IIC", "coco-stuff-171", "Mean IoU"), "published") == ["2.2"]
    assert look.texts(look.cell(further, "IIC", "coco-stuff-171", "Mean IoU"), "ours") == ["ours 2.5"]
    assert look.texts(look.cell(table, "IIC", "coco-stuff-171"), "ours") == ["ours 16.0"]
    assert "15.7 page" in look.texts(look.cell(table, "IIC", "coco-stuff-171"), "published")
