"""What the page says, read from the file without a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import statistics

import numpy as np
import pytest
from page_tools import CLASSES, EVIL, TRUTH, clusters, command, unpacked
from PIL import Image

from clusterbench.results.page import build
from clusterbench.results.page.build import Page, page
from clusterbench.results.page.details import MOST_CLASSES, POINTS, confusion, curve
from clusterbench.results.page.packing import Pieces, pack
from clusterbench.results.page.samples import sample, strip
from clusterbench.results.record import Record


def test_a_setting_has_mean_and_deviation_of_its_seeds(made: Page) -> None:
    (good,) = [
        each for each in unpacked(made.html, "board")["settings"] if each["method"] == "good" and each["dataset"] == "shapes"
    ]
    accuracies = [(60 - wrong) / 60 for wrong in range(4)]
    assert good["n"] == 4
    assert good["scores"]["acc"]["mean"] == pytest.approx(statistics.fmean(accuracies))
    assert good["scores"]["acc"]["std"] == pytest.approx(statistics.stdev(accuracies))
    assert good["scores"]["acc"]["low"] <= statistics.fmean(accuracies) <= good["scores"]["acc"]["high"]
    assert good["cost"]["total_seconds"] == [25.0, 10.0, 40.0]


def test_clear_winners_stand_in_the_first_tier_and_single_seeds_in_none(made: Page) -> None:
    settings = [each for each in unpacked(made.html, "board")["settings"] if each["dataset"] == "shapes"]
    tiers = {each["method"]: each["scores"]["acc"]["tier"] for each in settings}
    assert tiers == {"good": 1, "poor": 2, EVIL: None}
    assert "too few" in next(each["whyNot"] for each in settings if each["method"] == EVIL)


def test_data_sets_are_never_in_one_contest(made: Page) -> None:
    board = unpacked(made.html, "board")
    assert {(each["dataset"], each["contest"]) for each in board["settings"]} == {("shapes", 0), ("more", 1)}


def test_a_failed_run_is_listed_and_counts_in_no_setting(made: Page, records: list[Record]) -> None:
    board = unpacked(made.html, "board")
    runs = board["runs"]["columns"]
    place = runs["folder"].index("failed")
    assert board["runs"]["texts"][runs["status"][place]] == "failed"
    assert runs["setting"][place] == -1
    assert made.runs == len(records) == 12
    assert sum(each["n"] for each in board["settings"]) == 11


def test_the_confusion_matrix_counts_by_class(made: Page, records: list[Record]) -> None:
    place = next(i for i, record in enumerate(records) if record.spec["method"] == "poor" and record.spec["seed"] == 2)
    found = unpacked(made.html, "details-0")["runs"][str(place)]
    by_hand = np.zeros((3, 3), int)
    for cluster, label in zip(clusters(17), TRUTH, strict=True):
        by_hand[label, {2: 0, 0: 1, 1: 2}[int(cluster)]] += 1
    assert found["confusion"] == {"names": CLASSES, "matrix": by_hand.tolist()}
    assert [row["size"] for row in found["clusters"]] == [37, 20, 3]
    assert found["clusters"][2] == {"name": "cat", "size": 3, "mostly": "cat", "share": 1.0}
    assert found["curve"]["acc"] == pytest.approx([43 / 60 * epoch / 3 for epoch in (1, 2, 3)], abs=1e-5)


def test_names_and_texts_of_records_stay_texts(made: Page) -> None:
    assert EVIL not in made.html
    assert "<b>owl" not in made.html
    assert (
        made.html.count("<script")
        == made.html.count("</script>")
        == 2 + made.html.count('id="packed-basics-') + made.html.count('id="packed-details-')
    )


def test_the_only_script_that_may_run_is_the_pages_own(made: Page) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made.html)
    script = re.search(r"<script>(.*?)</script>", made.html, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_nothing_in_the_file_is_an_address_to_load_from(made: Page) -> None:
    packed = re.sub(r'id="packed-[^>]*>[^<]*<', "", made.html)
    assert set(re.findall(r"\w+://[^\s\"'`]+", packed)) <= {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_the_same_records_make_the_same_page(records: list[Record]) -> None:
    first, second = (page(records, repeat=command, made="2026-01-01").html for _ in range(2))
    assert first == second


def test_only_asked_for_runs_have_pictures_and_they_show_the_cluster(made: Page, records: list[Record]) -> None:
    runs = unpacked(made.html, "details-0")["runs"]
    pictured = [int(place) for place, run in runs.items() if any(row.get("picture") for row in run["clusters"] or ())]
    assert made.pictured == len(pictured) == 1
    record = records[pictured[0]]
    assert record.spec["method"] == "good"
    found = clusters(record.spec["seed"])
    for cluster, row in enumerate(runs[str(pictured[0])]["clusters"]):
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["picture"].partition(",")[2]))))
        shown = {int(sheet[0, 6 * tile]) for tile in range(12)}
        assert shown <= set(np.flatnonzero(found == cluster).tolist())
        assert len(shown) == 12


def test_a_sample_draws_without_labels_and_keeps_to_the_cluster() -> None:
    found = np.array([0, 2, 0, 2, 2, 0, 0])
    rows = sample(found, 3, most=3)
    assert [len(each) for each in rows] == [3, 0, 3]
    assert all((found[each] == cluster).all() for cluster, each in enumerate(rows))
    assert [each.tolist() for each in rows] == [each.tolist() for each in sample(found, 3, most=3)]


def test_large_colour_images_are_made_smaller() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 64, 3), dtype=np.uint8)
    uri = strip(images)
    sheet = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert uri.startswith("data:image/jpeg;base64,")
    assert sheet.size == (3 * 32 + 2 * 2, 48)


def test_long_curves_are_thinned_with_both_ends_kept() -> None:
    rows = [{"epoch": epoch, "acc": [0.1, 0.3, None], "chosen_head": 1, "criterion": 1 / epoch} for epoch in range(1, 1001)]
    found = curve(rows)
    assert found is not None
    assert len(found["epoch"]) == POINTS
    assert (found["epoch"][0], found["epoch"][-1]) == (1, 1000)
    assert (found["low"][5], found["acc"][5], found["high"][5]) == (0.1, 0.3, 0.3)
    assert curve(rows[:1]) is None


def test_of_many_classes_only_the_worst_pairs_are_told() -> None:
    n = MOST_CLASSES + 1
    matrix = np.diag(np.full(n, 10))
    matrix[4, 7], matrix[2, 1] = 5, 3
    found = confusion(matrix, [f"class {label}" for label in range(n)])
    assert found["pairs"] == [["class 4", "class 7", 5, 15], ["class 2", "class 1", 3, 13]]


def test_what_there_is_no_room_for_is_left_out_and_counted(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MOST_DETAILED", 5)
    small = page(records, repeat=command)
    medians = unpacked(small.html, "board")["median"]
    kept = {int(place) for name in ("details-0",) for place in unpacked(small.html, name)["runs"]}
    assert small.detailed == len(kept) == 5
    assert set(medians) <= kept
    monkeypatch.setattr(build, "MOST_BYTES", 0)
    assert page(records, repeat=command).detailed <= 1


def test_pieces_are_cut_by_size_and_share_what_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterbench.results.page.packing.PIECE", 100)
    pieces = Pieces()
    for run in range(3):
        pieces.add(run, {"config": pieces.share({"epochs": 3}), "text": "x" * 60})
    pieces.close()
    assert pieces.place == {0: 0, 1: 0, 2: 1}
    html = "".join(f'<script id="packed-p-{number}">{text}</script>' for number, text in enumerate(pieces.texts))
    assert unpacked(html, "p-0")["shared"] == unpacked(html, "p-1")["shared"] == [{"epochs": 3}]
    assert sorted(unpacked(html, "p-0")["runs"]) == ["0", "1"]


def test_of_one_selection_the_labels_of_the_others_are_not_read(records: list[Record]) -> None:
    (record, *_) = (record for record in records if record.status == "complete")
    everything, own = record.labels(), record.labels("own-loss")
    assert set(everything) - set(own) == {"last", "last/head"}
    assert all((own[name] == everything[name]).all() for name in own)


def test_a_number_that_json_lacks_becomes_nothing() -> None:
    assert unpacked(f'id="packed-p">{pack({"loss": [float("nan"), 1.5]})}<', "p") == {"loss": [None, 1.5]}
