"""`bench predict` and `bench sheet` as a user types them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
from cli_tools import Bench, modules_after
from PIL import Image
from sklearn.datasets import load_digits

DIGITS = (load_digits().images * 255 / 16).round().astype("uint8")


def photos(folder: Path, numbers: range = range(12), bad: int = 1) -> Path:
    folder.mkdir()
    for number in numbers:
        Image.fromarray(DIGITS[number]).save(folder / f"{number:02d}.png")
    for number in range(bad):
        (folder / f"bad{number}.png").write_bytes(b"no image")
    return folder


def test_a_folder_is_labelled_and_a_sheet_drawn(bench: Bench, tmp_path: Path) -> None:
    bench.run("--method", "kmeans", "--seeds", "1")
    photos(tmp_path / "photos")
    done = bench("predict", "kmeans", "--input", "photos", "--output", "to/labels.csv", "--html", "to/sheet.html")
    assert done.code == 0, done.err
    assert re.fullmatch(r"to/labels.csv: 12 images in \d+ of 10 clusters; 1 bad file\n", done.out)
    assert "bad file bad0.png: is no image" in done.said and "kmeans on digits, seed 0" in done.said
    with (tmp_path / "to" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = np.load(next(bench.out.glob("*/labels.npz")))
    assert [int(row["cluster"]) for row in rows if row["cluster"]] == kept["last"][0, :12].tolist()
    page = (tmp_path / "to" / "sheet.html").read_text()
    assert page.count("<img ") == 12 and "Images of photos by cluster" in page


def test_only_bad_files_are_a_failure(bench: Bench, tmp_path: Path) -> None:
    bench.run("--method", "kmeans", "--seeds", "1")
    photos(tmp_path / "photos", range(0), bad=5)
    done = bench("predict", "kmeans", "--input", "photos", "--output", "labels.csv")
    assert done.code == 1 and "0 images in 0 of 10 clusters; 5 bad files" in done.out
    assert "and 2 bad files more: see the column problem of labels.csv" in done.said
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 6


def test_what_cannot_be_done_is_said_in_a_line(bench: Bench, tmp_path: Path) -> None:
    assert "There is no run in bench-results" in bench("predict", "x", "--input", "p", "--output", "l.csv").said
    bench.run("--method", "kmeans", "--seeds", "1")
    done = bench("predict", "kmeans", "--input", "nowhere", "--output", "l.csv")
    assert done.code == 1 and "nowhere does not exist. Give a folder of images." in done.said
    next(bench.out.glob("*/trained.pt")).unlink()
    done = bench("predict", "kmeans", "--input", ".", "--output", "l.csv")
    assert done.code == 1 and "Run it again: bench run --method kmeans --dataset digits" in done.said


def test_a_run_without_labels_is_interpreted_on_card_summary_and_sheet(bench: Bench, tmp_path: Path) -> None:
    photos(tmp_path / "photos", range(60), bad=0)
    about = ("--dataset", "folder:photos", "--clusters", "4", "--mlflow", "off", "--address", "none")
    one = bench("run", "--method", "kmeans", *about)
    assert one.code == 0, one.err
    assert "ACC" not in one.out and "silhouette" in one.out and "bench sheet" in one.out
    several = bench("run", "--method", "kmeans", "--seeds", "2", *about)
    assert re.search(r"no labels: kmeans on folder:photos: silhouette 0\.\d\d ± .*ARI between seeds \d\.\d\d", several.out)
    sheet = bench("sheet", "s0", "--html", "sheet.html")
    assert sheet.code == 0, sheet.err
    assert "4 of 4 used" in sheet.out and "between 2 seeds (1 pair)" in sheet.out and "found again" in sheet.out
    assert (tmp_path / "sheet.html").read_text().count("<section ") == 4


def test_a_sheet_without_its_images_is_refused_and_the_rest_told(bench: Bench, tmp_path: Path) -> None:
    photos(tmp_path / "photos", range(30), bad=0)
    bench("run", "--method", "kmeans", "--dataset", "folder:photos", "--clusters", "3", "--mlflow", "off", "--address", "none")
    (tmp_path / "photos").rename(tmp_path / "moved")
    done = bench("sheet", "kmeans", "--html", "sheet.html")
    assert done.code == 1 and "3 of 3 used" in done.out and "No contact sheet without the images" in done.said
    assert not (tmp_path / "sheet.html").exists()


def test_help_loads_nothing_heavy() -> None:
    for command in ("predict", "sheet"):
        code, modules, out = modules_after(command, "--help")
        assert (code == 0 and "bench sheet" in out) or "bench predict" in out
        assert not {"torch", "sklearn", "scipy", "pandas", "jinja2", "PIL"} & modules
