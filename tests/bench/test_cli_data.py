"""`bench data`: listing, preparing and verifying, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_tools import Bench, modules_after
from PIL import Image

from clusterbench.bench.data_progress import DataProgress, amount
from clusterbench.datasets.catalogue import datasets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty data root."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """A user's own arrays: twenty images of two classes, dark and bright."""
    random = np.random.default_rng(0)
    labels = np.arange(20) % 2
    images = (random.integers(0, 90, (20, 12, 12, 3)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    path = tmp_path / "own.npz"
    np.savez(path, images=images, labels=labels, class_names=np.array(["dark", "bright"]))
    return path


def test_the_list_has_a_line_for_each_data_set(bench: Bench, root: Path) -> None:
    rows = [line.split("\t") for line in bench("data", "list", "--data-root", str(root)).out.splitlines()]
    assert [row[0] for row in rows] == datasets.names()
    about = {row[0]: row[1:] for row in rows}
    assert about["mnist"][:5] == ["70,000", "1x28x28", "10", "11.6", "not here"]
    assert about["digits"][4] == "ready"
    assert len({len(row) for row in rows}) == 1


def test_the_list_needs_neither_torch_nor_numpy() -> None:
    code, modules, _ = modules_after("data", "list")
    assert code == 0
    assert not {"torch", "numpy", "sklearn"} & modules


def test_json_tells_what_the_cards_say_and_the_state(bench: Bench, root: Path) -> None:
    rows = {row["name"]: row for row in json.loads(bench("data", "list", "--json", "--data-root", str(root)).out)}
    assert rows["stl10"]["splits"]["unlabeled"] == 100_000
    assert (rows["stl10"]["state"], rows["stl10"]["where"]) == ("not here", None)


def test_preparing_tells_what_came_of_it_and_the_list_shows_it(bench: Bench, root: Path) -> None:
    ran = bench("data", "prepare", "usps@sample", "--data-root", str(root))
    assert ran.code == 0
    assert "images of 1x16x16, 10 classes" in ran.out
    assert "note generated images, not real data" in ran.out
    assert (root / "prepared/usps@sample/preview.png").is_file()
    line = next(
        line for line in bench("data", "list", "--data-root", str(root)).out.splitlines() if line.startswith("usps@sample")
    )
    assert line.split("\t")[5:7] == ["ready", str(root / "prepared/usps@sample")]


def test_a_sample_is_asked_for_by_name_or_by_option(bench: Bench, root: Path) -> None:
    assert bench("data", "prepare", "usps", "--sample", "--data-root", str(root)).out.startswith("usps@sample ")
    assert [path.name for path in root.glob("prepared/*") if path.is_dir()] == ["usps@sample"]


def test_own_arrays_are_prepared_run_and_verified(bench: Bench, root: Path, arrays: Path) -> None:
    name = f"npz:{arrays}"
    prepared = bench("data", "prepare", name, "--data-root", str(root))
    assert (prepared.code, "20 images of 3x12x12, 2 classes" in prepared.out) == (0, True)
    ran = bench("run", "--method", "kmeans", "--dataset", name, "--data-root", str(root), "--mlflow", "off")
    assert ran.code == 0
    assert "100.0" in ran.out
    assert bench("data", "verify", name, "--data-root", str(root)).out.startswith("ok")


def test_an_own_folder_without_labels_is_clustered_when_the_number_is_said(bench: Bench, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (20, 14), (40 * (number % 2) + number, 0, 0)).save(folder / f"{number}.jpg")
    common = ("run", "--method", "kmeans", "--dataset", f"folder:{folder}@16", "--data-root", str(root), "--mlflow", "off")
    assert "Say how many clusters" in bench(*common).said
    ran = bench(*common, "--clusters", "2")
    assert ran.code == 0
    assert "2 of 2" in ran.out and "no labels" in ran.out


def test_verify_names_what_was_changed_goes_on_and_leaves_with_one(bench: Bench, root: Path) -> None:
    for name in ("usps@sample", "mnist@sample"):
        bench("data", "prepare", name, "--data-root", str(root))
    path = root / "prepared/mnist@sample/images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ran = bench("data", "verify", "--data-root", str(root))
    assert ran.code == 1
    assert "images.npy was changed after it was written" in ran.said
    assert "bench data prepare mnist@sample --force" in ran.said
    assert "ok  usps@sample" in ran.out
    assert bench("data", "prepare", "mnist@sample", "--force", "--data-root", str(root)).code == 0
    assert bench("data", "verify", "--data-root", str(root)).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prepare",), "name a data set, or ask for --sample"),
        (("prepare", "usps", "mnist", "--from", "."), "one data set at a time"),
        (("prepare", "mnits"), "Did you mean 'mnist'"),
        (("prepare", "digits"), "there is nothing to prepare"),
        (("prepare", "cifar10"), "--data-root DIR, or fetch it (170.5 MB) with --download"),
        (("prepare", "potsdam"), "cannot be fetched freely"),
        (("prepare", "cifar10", "--from", "/no/such"), "There is no /no/such"),
        (("prepare", "npz:x.npz", "--sample"), "is your own data"),
        (("verify", "cifar10"), "is not prepared, so there is nothing to verify"),
    ],
)
def test_what_cannot_be_done_is_one_line(bench: Bench, root: Path, words: tuple[str, ...], said: str) -> None:
    ran = bench("data", *words, "--data-root", str(root))
    assert ran.code in (1, 2)
    assert said in ran.said


def test_a_method_of_another_task_is_refused_before_anything_is_prepared(bench: Bench, root: Path) -> None:
    ran = bench("run", "--method", "iic-finetune", "--dataset", "potsdam@sample", "--data-root", str(root))
    assert ran.code == 1
    assert "iic-finetune is a method for semi-supervised, potsdam@sample is a data set for segmentation" in ran.said
    assert not (root / "prepared").exists()


def test_a_sample_has_its_own_row_and_never_the_published_number(bench: Bench, root: Path) -> None:
    bench("run", "--method", "kmeans", "--dataset", "mnist@sample", "--data-root", str(root), "--mlflow", "off")
    record = json.loads(next(bench.out.glob("*/record.json")).read_text())
    assert record["spec"]["dataset"] == "mnist@sample"
    assert "generated images, not real data" in record["provenance"]["data"]["notes"][0]
    rows = [line.split("|")[1:-1] for line in bench("tables", "1").out.splitlines() if line.startswith("|")]
    cells = dict(zip((title.strip() for title in rows[0]), next(row for row in rows if "K-means" in row[0]), strict=True))
    assert "57.2" in cells["mnist"] and "no run" in cells["mnist"]
    acc = f"{100 * record['metrics']['own-loss']['acc']:.1f}"
    assert acc in cells["mnist@sample"] and "57.2" not in cells["mnist@sample"]


def test_progress_says_nothing_where_nothing_takes_long_and_a_line_now_and_then_where_it_does() -> None:
    from rich.console import Console

    now = [0.0]
    console = Console(record=True, force_terminal=False, width=200)
    with DataProgress(console, "stl10", clock=lambda: now[0]) as shown:
        shown("preparing", 1, 100)
        assert console.export_text(clear=False) == ""
        now[0] = 11.0
        shown("preparing", 50, 100)
        shown("preparing", 51, 100)
    assert console.export_text().splitlines() == ["stl10: preparing 50 of 100"]


def test_progress_in_a_terminal_is_a_bar_with_amounts() -> None:
    from rich.console import Console

    console = Console(record=True, force_terminal=True, width=120)
    with DataProgress(console, "stl10") as shown:
        shown("fetching", 200_000_000, 2_600_000_000)
        shown("preparing", 4, 10)
        assert shown.bar is not None and len(shown.bar.tasks) == 1
        task = shown.bar.tasks[0]
    assert (task.description, task.completed, task.total) == ("stl10: preparing", 4, 10)
    assert amount(200_000_000, 2_600_000_000) == "200 of 2,600 million"
    assert (amount(7, 0), amount(0, 0)) == ("7", "")
