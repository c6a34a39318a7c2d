"""Suites as data: ours name what the papers' tables have, a user's file is checked to the last key, parts can be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterbench.bench.cli.suite import asked
from clusterbench.bench.spec import SpecError
from clusterbench.bench.suite_plan import cells, select
from clusterbench.bench.suites import OURS, Suite, suite, suites
from clusterbench.datasets.catalogue import datasets
from clusterbench.datasets.registry import NotFound
from clusterbench.methods.registry import methods
from clusterbench.results.published import METHODS, WITH_LABELS, published

GOOD = """
title: Mine
defaults: {datasets: digits, seeds: 3, preset: smoke, set: {epochs: 2, views: {rotation: 5}}}
runs:
  - {methods: [kmeans, random], seeds: [4, 7], set: {}}
  - {methods: iic, set: {lr: 1e-3, views: {size: 16}}, label: higher rate, time_limit: 20m, clusters: 12}
"""
OURS_ALONE = {"triplets-finetune", "scan-finetune", "random-finetune"}  # rows of Table 3 that the paper does not have


def written(path: Path, text: str) -> Suite:
    path.write_text(text, encoding="utf-8")
    return suite(str(path))


@pytest.mark.parametrize("name", suites())
def test_ours_name_data_sets_that_exist_and_methods_that_do_or_will(name: str) -> None:
    ours = suite(name)
    assert set(ours.datasets) <= set(datasets.names())
    assert set(ours.methods) <= {*METHODS.values(), *WITH_LABELS.values(), *OURS_ALONE}
    for run in ours.runs:
        for method in set(run.methods) & set(methods.names()):
            assert run.preset in methods.card(method)["presets"]
    assert ours.shipped
    assert ours.trials == sum(len(run.methods) * len(run.datasets) * len(run.seeds) for run in ours.runs)


def test_ours_have_the_numbers_of_trials_that_their_tables_ask_for() -> None:
    of_table1 = 4 * 10 + 15 * 4 * 5 + 2 * 4 * 5  # random; the other rows; SCAN and IMC-SwAV
    of_table3 = 3 * (9 + 2 + 9 + 2 * (9 + 1 + 9))  # fine-tuned, cutout and the control, probes; two shares of the labels
    trials = {name: suite(name).trials for name in suites()}
    assert trials == {
        "quick": 15, "table1": of_table1, "table2": 30, "table3": of_table3, "table3-folds": 70, "table4": 7 * 4 * 3,
        "figure6": 15,
    }  # fmt: skip


def test_table_1_and_4_have_the_rows_and_columns_of_the_published_ones() -> None:
    for table in ("1", "4"):
        rows = [row for row in published() if row.table == table]
        ours = suite(f"table{table}")
        assert {row.method for row in rows} == set(ours.methods) - {"scan", "imc-swav"}
        assert {row.dataset for row in rows} == set(ours.datasets)


def test_table_2_has_a_row_for_each_published_one_and_each_changes_one_thing() -> None:
    ours = suite("table2")
    labels = {row.system for row in published() if row.table == "2"}
    assert labels <= {run.label for run in ours.runs}
    cells_ = {cell.run.label: cell for cell in cells(ours)}
    changed = {label: dict(cell.resolved.overrides) for label, cell in cells_.items() if cell.resolved}
    assert changed.pop("Full setting") == {}
    assert changed == {
        "No auxiliary overclustering": {"auxiliary_clusters": 10},
        "No auxiliary head": {"passes": ["main"]},
        "Single sub-head (h = 1)": {"sub_heads": 1},
        "No sample repeats (r = 1)": {"repeats": 1},
        "Unlabelled data segment ignored": {"auxiliary_images": "main"},
    }


def test_table_2_trains_both_heads_on_any_data_set_but_where_it_leaves_one_out() -> None:
    for cell in cells(select(suite("table2"), chosen_datasets=["mnist", "digits"], preset="short")):
        assert cell.resolved is not None
        both = cell.run.label != "No auxiliary head"
        assert cell.resolved.config["passes"] == (["auxiliary", "main"] if both else ["main"])


def test_figure_6_has_the_numbers_of_clusters_and_batches_of_the_authors_command_lines() -> None:
    """Runs 653, 650, 652, 654 and 665 of the authors."""
    found = {cell.run.label: cell for cell in cells(suite("figure6"))}
    asked_for = {
        label: (cell.resolved.n_clusters, cell.resolved.config["batch_pairs"], cell.resolved.config["repeats"])
        for label, cell in found.items()
        if cell.resolved
    }
    assert asked_for == {
        "STL10-100": (140, 1400, 5), "STL10-50": (70, 700, 5), "CIFAR10": (140, 1320, 3), "CIFAR100-20": (280, 2800, 5),
        "MNIST": (25, 350, 5),
    }  # fmt: skip
    assert {cell.run.protocol for cell in found.values()} == {"semi-supervised"}
    assert all(cell.resolved and cell.resolved.config["passes"] == ["main"] for cell in found.values())


def test_figure_6_runs_at_another_budget_on_one_of_its_data_sets() -> None:
    part = cells(select(suite("figure6"), chosen_datasets=["mnist"], preset="short"))
    (cell,) = part
    assert cell.resolved is not None
    assert (cell.resolved.preset, cell.resolved.n_clusters, cell.dataset) == ("short", 25, "mnist")


def test_what_this_version_lacks_of_ours_is_told_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(methods), "__contains__", lambda self, name: name != "cutout")
    for cell in cells(suite("table3")):
        assert cell.why_not == ("no method 'cutout'" if cell.method == "cutout" else "")
        assert (cell.resolved is None) == bool(cell.why_not)
    repeats = next(cell for cell in cells(suite("table2")) if cell.run.settings.get("repeats") == 1)
    assert repeats.resolved is not None
    assert (repeats.resolved.config["repeats"], repeats.resolved.config["batch_pairs"]) == (1, 700)


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_table_3_runs_on_small_images_with_three_shares_of_the_labels_on_one_base_each(dataset: str) -> None:
    found = cells(select(suite("table3"), chosen_datasets=[dataset], preset="short"))
    configs = [cell.resolved.config for cell in found if cell.resolved]
    assert len(configs) == len(found)
    assert {config["label_fraction"] for config in configs} == {1.0, 0.1, 0.01}
    bases: dict[str, list] = {}
    for cell, config in zip(found, configs, strict=True):
        bases.setdefault(cell.method, []).append(config.get("base"))
    assert all(each == several[0] for several in bases.values() for each in several)


def test_methods_for_whole_images_are_told_where_pixels_are_asked_for() -> None:
    for cell in cells(suite("table4")):
        if cell.method in methods.names() and methods.get(cell.method).task == "clustering":
            assert cell.resolved is None
            assert "is a method for clustering" in cell.why_not


def test_products_hold_exactly_what_can_be_run() -> None:
    found = cells(suite("table1"))
    products = asked(found, None, False)
    runnable = {(cell.method, cell.dataset, seed) for cell in found if cell.resolved for seed in cell.run.seeds}
    trials = [(m, d, seed) for each in products for m in each.methods for d in each.datasets for seed in each.seeds]
    assert sorted(trials) == sorted(runnable)
    assert ("iic", "stl10", 4) in runnable
    assert not any(cell.method == "scan" for cell in found if cell.resolved) or "scan" in methods.names()


def test_a_users_file_with_defaults_products_and_merged_settings(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.yaml", GOOD)
    classical, trained = mine.runs
    assert (classical.methods, classical.datasets, classical.seeds) == (("kmeans", "random"), ("digits",), (4, 7))
    assert (trained.methods, trained.seeds, trained.label) == (("iic",), (0, 1, 2), "higher rate")
    assert trained.settings == {"epochs": 2, "lr": 0.001, "views": {"rotation": 5, "size": 16}}
    assert (trained.time_limit, trained.clusters, trained.preset) == (1200.0, 12, "smoke")
    assert mine.trials == 2 * 2 + 3
    assert (mine.shipped, mine.command()) == (False, f"bench suite run {tmp_path}/mine.yaml")


def test_settings_reach_the_configuration_by_way_of_the_words_of_set(tmp_path: Path) -> None:
    mine = written(
        tmp_path / "mine.yaml", "title: t\nruns: [{methods: iic, datasets: digits, set: {lr: 1e-5, views.rotation: 7}}]"
    )
    (product,) = asked(cells(mine), None, False)
    assert [*product.settings] == ["lr=1.0e-05", "views.rotation=7"]
    (cell,) = cells(mine)
    assert cell.resolved is not None
    assert (cell.resolved.config["lr"], cell.resolved.config["views"]["rotation"]) == (1e-5, 7)


RUN = "{methods: kmeans, datasets: digits}"
BROKEN = {
    "empty": ("", "a suite has a title and runs as 'name: value' lines; this is a NoneType"),
    "a list": ("- kmeans", "this is a list"),
    "not YAML": ("title: [", "is not YAML"),
    "a key twice": (f"title: t\nruns: [{RUN}]\nruns: [{RUN}]", "the key 'runs' stands twice"),
    "no title": (f"runs: [{RUN}]", "title is missing."),
    "no runs": ("title: t", "runs is missing."),
    "runs of nothing": ("title: t\nruns: []", "runs: "),
    "unknown key of a suite": (f"title: t\nrun: [{RUN}]\nruns: [{RUN}]", "unknown key 'run'. Did you mean 'runs'?"),
    "unknown key of a run": (
        f"title: t\nruns: [{RUN}, {{methods: kmeans, dataset: digits}}]",
        "runs[1]: unknown key 'dataset'. Did you mean 'datasets'?",
    ),
    "unknown key of the defaults": (
        f"title: t\ndefaults: {{protocl: full}}\nruns: [{RUN}]",
        "defaults: unknown key 'protocl'. Did you mean 'protocol'?",
    ),
    "a label for all": (f"title: t\ndefaults: {{label: all}}\nruns: [{RUN}]", "defaults: unknown key 'label'. Known: methods,"),
    "a run that is a name": ("title: t\nruns: [kmeans]", "runs[0]: "),
    "no data set": ("title: t\nruns: [{methods: kmeans}]", "runs[0] names no datasets, and the defaults name none either."),
    "methods as a mapping": (
        "title: t\nruns: [{methods: {kmeans: 1}, datasets: digits}]",
        "runs[0].methods: write a name or a list of names (got {'kmeans': 1}).",
    ),
    "seeds in words": ("title: t\ndefaults: {seeds: many}\nruns: []", "defaults.seeds: write a number of seeds (5) or a list"),
    "no seeds": (f"title: t\ndefaults: {{seeds: 0}}\nruns: [{RUN}]", "defaults.seeds: a number of seeds is 1 to 10,000"),
    "negative seed": (f"title: t\ndefaults: {{seeds: [0, -1]}}\nruns: [{RUN}]", "defaults.seeds: write a number of seeds"),
    "protocol": ("title: t\nruns: [{methods: kmeans, datasets: digits, protocol: ful}]", "runs[0].protocol: "),
    "one cluster": ("title: t\nruns: [{methods: kmeans, datasets: digits, clusters: 1}]", "runs[0].clusters: "),
    "clusters as text": ("title: t\nruns: [{methods: kmeans, datasets: digits, clusters: '10'}]", "runs[0].clusters: "),
    "time limit": (
        "title: t\nruns: [{methods: kmeans, datasets: digits, time_limit: soon}]",
        "runs[0].time_limit: 'soon' is not a duration. Write 90s, 10m or 1h30m (got 'soon').",
    ),
    "no time": ("title: t\nruns: [{methods: kmeans, datasets: digits, time_limit: 0}]", "runs[0].time_limit: "),
    "settings as a list": ("title: t\nruns: [{methods: kmeans, datasets: digits, set: [epochs=1]}]", "runs[0].set: "),
}
WRONG_NAMES = {
    "method": ("methods: kmaens, datasets: digits", "Unknown method 'kmaens'. Did you mean 'kmeans'?"),
    "data set": ("methods: kmeans, datasets: mnits", "Unknown data set 'mnits'. Did you mean 'mnist'"),
    "preset": ("methods: kmeans, datasets: digits, preset: smoek", "Unknown preset 'smoek'. Did you mean 'smoke'"),
    "preset of the data set": ("methods: iic, datasets: digits, preset: paper", "The preset 'paper' of iic has settings for"),
    "setting": ("methods: iic, datasets: digits, set: {epoch: 3}", "iic: unknown setting 'epoch'. Did you mean 'epochs'?"),
    "value": ("methods: iic, datasets: digits, set: {lr: -1}", "iic: setting 'lr': "),
    "task of the data": (
        "methods: iic-finetune, datasets: potsdam",
        "iic-finetune is a method for semi-supervised, potsdam is",
    ),
    "task": ("methods: kmeans, datasets: digits, task: segmentation", "kmeans is a method for clustering, this run asks for"),
    "protocol": ("methods: kmeans, datasets: digits, protocol: split", "digits has no protocol 'split'."),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_told_in_one_line_with_the_place_in_it(tmp_path: Path, fault: str) -> None:
    text, why = BROKEN[fault]
    with pytest.raises(SpecError) as told:
        written(tmp_path / "mine.yaml", text)
    assert why in str(told.value)
    assert "mine.yaml" in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("fault", WRONG_NAMES)
def test_a_name_that_does_not_exist_in_a_users_file_is_told_with_its_run(tmp_path: Path, fault: str) -> None:
    run, why = WRONG_NAMES[fault]
    mine = written(tmp_path / "mine.yaml", f"title: t\nruns: [{RUN}, {{{run}}}]")
    with pytest.raises(SpecError, match=r"mine\.yaml: runs\[1\]: ") as told:
        cells(mine)
    assert why in str(told.value)


def test_a_name_that_is_neither_ours_nor_a_file_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"Unknown suite 'tabel1'\. Did you mean 'table1'"):
        suite("tabel1")
    with pytest.raises(SpecError, match="There is no suite file nowhere.yaml"):
        suite("nowhere.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yml").write_bytes(b"title: caf\xe9")
    for name in ("folder.yaml", "latin.yml"):
        with pytest.raises(SpecError, match="Cannot read the suite file"):
            suite(str(tmp_path / name))


def test_a_file_of_any_name_is_a_suite_but_ours_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("plan", "quick"):
        Path(name).write_text(GOOD)
    assert suite("plan").title == "Mine"
    assert suite("quick").shipped
    assert suite("./quick").title == "Mine"


def test_parts_of_a_suite_by_method_data_set_preset_and_seeds() -> None:
    part = select(suite("table1"), chosen_methods=["iic", "random"], chosen_datasets=["mnist"], preset="short", seeds=(3, 4, 5))
    assert part.trials == 2 * 3
    assert {(run.preset, run.seeds) for run in part.runs} == {("short", (3, 4, 5))}
    assert [run.trials for run in part.runs] == [3, 3, 0, 0]


def test_a_data_set_that_a_suite_does_not_name_takes_the_place_of_its_own() -> None:
    assert select(suite("table2"), chosen_datasets=["mnist"]).datasets == ("mnist",)
    both = select(suite("figure6"), chosen_datasets=["mnist", "usps"])
    assert [run.datasets for run in both.runs] == [("usps",)] * 4 + [("mnist", "usps")]
    sample = select(suite("figure6"), chosen_datasets=["mnist@sample"])
    assert [run.datasets for run in sample.runs] == [()] * 4 + [("mnist@sample",)]


def test_a_choice_that_nobody_knows_is_refused() -> None:
    for choice, why in (
        ({"chosen_methods": ["spectrl"]}, "Unknown method 'spectrl'. Did you mean 'spectral'"),
        ({"chosen_datasets": ["mnits"]}, "Unknown data set 'mnits'"),
        ({"preset": "papr"}, "Unknown preset 'papr'. Did you mean 'paper'"),
    ):
        with pytest.raises(NotFound) as told:
            select(suite("table1"), **choice)  # type: ignore[arg-type]
        assert why in str(told.value)


def test_a_file_of_ours_copied_becomes_a_users_and_must_name_what_there_is(tmp_path: Path) -> None:
    import yaml

    cards = yaml.safe_load(OURS.read_text(encoding="utf-8"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(cards["quick"]), encoding="utf-8")
    assert suite(str(path)).runs == suite("quick").runs
    assert all(cell.resolved for cell in cells(suite(str(path))))
