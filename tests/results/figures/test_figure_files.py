"""Files and the look of figures: sizes, valid SVG with text, reproducible bytes, colours that can be told apart."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from clusterbench.results.figures import plan, style
from clusterbench.results.figures.jobs import Request, median_record
from clusterbench.results.record import Record

Ask, Make = Callable[..., Request], Callable[..., Record]
# Machado, Oliveira, Fernandes 2009: full protanopia, deuteranopia and tritanopia, on linear RGB.
DICHROMACIES = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
)


def drawn(kind: str, request: Request, folder: Path, *forms: str) -> plan.Outcome:
    (outcome,) = plan.draw_all(plan.plan([kind], request), folder, forms)
    return outcome


def svg_texts(path: Path) -> list[str]:
    tree = ElementTree.parse(path)
    return ["".join(element.itertext()).strip() for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def lab(colours: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """CIE Lab (n, 3) of sRGB colours as an eye with this matrix sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ seen.T, 0, 1) @ np.array(
        [[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]
    )
    f = np.where((t := xyz / [0.9505, 1, 1.089]) > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("kind", ["confusion", "simplex", "bars"])
def test_a_png_has_the_size_of_its_figure(pets: Record, ask: Ask, tmp_path: Path, kind: str) -> None:
    outcome = drawn(kind, ask(pets), tmp_path / "new" / "pictures", "png")
    (job,) = plan.plan([kind], ask(pets))
    inches = job.draw().figure.get_size_inches()
    with Image.open(outcome.files[0]) as image:
        assert np.abs(np.array(image.size) - style.DPI * inches).max() <= 1
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert outcome.files[0].name == f"{kind}-iic-pets-paper-3-0.png"


def test_an_svg_is_valid_and_its_text_stays_text(pets: Record, ask: Ask, tmp_path: Path) -> None:
    outcome = drawn("confusion", ask(pets), tmp_path, "svg")
    found = svg_texts(outcome.files[0])
    assert {"cat", "dog", "owl", "90", "9", "true class"} <= set(found)
    assert any(text.startswith("Confusion: iic on pets") for text in found)


def test_the_same_picture_is_the_same_file(pets: Record, ask: Ask, tmp_path: Path) -> None:
    files = [drawn("simplex", ask(pets), tmp_path / name, "png", "svg").files for name in ("first", "second")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_nothing_written_runs_out_of_the_picture(pets: Record, ask: Ask) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for kind in ("confusion", "simplex", "bars"):
        with style.styled():
            figure = plan.plan([kind], ask(pets))[0].draw().figure
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        width, height = canvas.get_width_height()
        assert min(min(box.x0, box.y0) for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= width
        assert max(box.y1 for box in boxes) <= height


def test_the_settings_of_matplotlib_are_left_as_they_were(pets: Record, ask: Ask, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    drawn("confusion", ask(pets), tmp_path, "png")
    assert dict(matplotlib.rcParams) == before


def test_a_damaged_record_costs_its_own_figure_only(pets: Record, make_trial: Make, ask: Ask, tmp_path: Path) -> None:
    broken = make_trial(method="broken")
    (broken.folder / "labels.npz").write_bytes(b"no archive")
    outcomes = list(plan.draw_all(plan.plan(["confusion"], ask(broken, pets)), tmp_path, ["png"]))
    assert [len(outcome.files) for outcome in outcomes] == [0, 1]
    assert "is damaged" in outcomes[0].problems[0].why


def test_every_kind_says_what_it_needs_where_there_is_nothing(ask: Ask, tmp_path: Path) -> None:
    outcomes = list(plan.draw_all(plan.plan([], ask()), tmp_path / "none", ["png"]))
    assert [outcome.job.kind for outcome in outcomes] == list(plan.KINDS)
    assert all(outcome.problems[0].remedy.startswith(("bench run ", "bench suite run ")) for outcome in outcomes)
    assert not (tmp_path / "none").exists()


def test_of_several_seeds_the_one_with_the_median_accuracy_is_shown(make_trial: Make, ask: Ask) -> None:
    kept = {"truth": np.zeros(1, int)}
    seeds = [make_trial(seed=seed, acc=acc, labels=kept) for seed, acc in enumerate((0.9, 0.2, 0.5, 0.6))]
    assert median_record(seeds, "own-loss") is seeds[2]
    stems = [job.stem for job in plan.plan(["confusion"], ask(*seeds))]
    assert stems == ["confusion-iic-pets-paper-3-2"]
    assert len(plan.plan(["confusion"], ask(*seeds, every_seed=True))) == 4


def test_a_seed_that_holds_what_is_needed_is_preferred(pets: Record, make_trial: Make, ask: Ask) -> None:
    better = make_trial(seed=1, acc=0.95)
    assert [job.stem for job in plan.plan(["simplex"], ask(better, pets))] == ["simplex-iic-pets-paper-3-0"]


@pytest.mark.parametrize(("n", "least"), [(10, 16), (28, 12)])
def test_class_colours_are_told_apart_by_every_eye(n: int, least: float) -> None:
    colours = np.array([to_rgb(colour) for colour in [*style.class_colours(n), style.IGNORED, "#FFFFFF"]])
    for seen in DICHROMACIES:
        found = lab(colours, seen)
        distances = np.linalg.norm(found[:, None] - found[None], axis=2)[:n]
        np.fill_diagonal(distances, np.inf)
        assert distances.min() > least


def test_a_class_has_one_colour_however_many_there_are() -> None:
    assert style.class_colours(3) == style.class_colours(171)[:3]
    assert len(set(style.class_colours(200))) == 200  # as many as any data set has classes of pixels
