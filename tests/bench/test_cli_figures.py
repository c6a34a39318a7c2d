"""`bench figures`: from records on disk to pictures, and clear words for what cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_tools import Bench

from clusterbench.bench.cli.figures import Kind
from clusterbench.results.figures.plan import KINDS
from clusterbench.results.record import find_records


@pytest.fixture
def ran(bench: Bench) -> Bench:
    """Two seeds of k-means on digits are on record."""
    assert bench.run("--method", "kmeans", "--preset", "smoke", "--quiet", "--seeds", "2").code == 0
    return bench


def test_the_command_knows_every_kind_of_figure() -> None:
    assert {kind.value for kind in Kind} == set(KINDS)


def test_everything_that_the_records_allow_is_drawn_and_the_rest_is_told(ran: Bench) -> None:
    done = ran("figures")
    assert done.code == 0
    (line,) = done.out.splitlines()
    path, _, shows = line.partition(": ")
    assert Path(path).parent == ran.out / "figures" or Path(path).parent == Path("bench-results/figures")
    assert Path(path).is_file()
    assert shows.startswith("confusion matrix of kmeans on digits, smoke preset, seed")
    told = done.err.splitlines()
    assert sorted(each.split()[1].rstrip(":") for each in told) == [
        "bars",
        "curves",
        "label-fractions",
        "ranks",
        "segmentation",
        "simplex",
    ]
    assert all(each.startswith("bench: ") for each in told)
    assert sum("Try: bench run " in each for each in told) == 4


def test_both_formats_go_where_they_are_wanted(ran: Bench) -> None:
    done = ran("figures", "confusion", "--to", "pictures", "--format", "both", "--seed", "0", "--seed", "1")
    assert done.code == 0
    assert done.err == ""
    assert sorted(path.suffix for path in Path("pictures").iterdir()) == [".png", ".png", ".svg", ".svg"]
    assert len(done.out.splitlines()) == 4


def test_a_picture_with_images_takes_them_from_the_data_set(bench: Bench) -> None:
    from clusterbench.bench.cli.figure_sources import ImageSource
    from clusterbench.results.figures.jobs import Cannot

    bench.run("--method", "kmeans", "--preset", "smoke", "--quiet")
    (record,) = find_records(bench.out)
    from sklearn.datasets import load_digits

    images = ImageSource()
    found = images(record, [3, 1_000])  # type: ignore[arg-type]
    assert found.shape == (2, 1, 8, 8)
    expected = (load_digits().images[[3, 1_000]] * 255 / 16).round()
    assert abs(found[:, 0].astype(float) - expected).max() <= 1
    record.spec["data_fingerprint"] = "0" * 64
    with pytest.raises(Cannot, match="checksum differs"):
        images(record, [3])  # type: ignore[arg-type]
    record.spec["dataset"] = "usps"
    with pytest.raises(Cannot, match="usps"):
        images(record, [3])  # type: ignore[arg-type]


def test_nothing_drawn_is_a_failure(ran: Bench) -> None:
    done = ran("figures", "segmentation")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "bench: segmentation: there is no finished record of segmentation. Try: bench run --method iic --dataset potsdam-3\n"
    )


def test_no_record_at_all_names_the_first_command(bench: Bench) -> None:
    done = bench("figures")
    assert done.code == 1
    assert done.err == "bench: There is no record in bench-results. Make one: bench run --method iic --dataset digits\n"


@pytest.mark.parametrize("asked", [("--method", "iic"), ("--seed", "7")])
def test_records_that_were_not_asked_for_are_named(ran: Bench, asked: tuple[str, str]) -> None:
    done = ran("figures", *asked)
    assert done.code == 1
    assert done.err == "bench: No record in bench-results is what was asked for. There are kmeans on digits.\n"


def test_an_unknown_data_set_is_refused_with_the_nearest_name(ran: Bench) -> None:
    done = ran("figures", "--dataset", "digist")
    assert done.code == 1
    assert done.err.startswith("bench: Unknown data set 'digist'. Did you mean 'digits'")


def test_an_unknown_kind_is_a_wrong_usage(bench: Bench) -> None:
    done = bench("figures", "pie")
    assert done.code == 2
    assert "'curves', 'confusion', 'simplex'" in done.said


def test_a_failed_trial_is_left_out_and_counted(ran: Bench) -> None:
    from clusterbench.results.record import RecordWriter

    broken = find_records(ran.out)[0]
    writer = RecordWriter(broken.folder)
    writer.fail(RuntimeError("the device fell off"))
    done = ran("figures", "confusion")
    assert done.code == 0
    assert "left out as not finished: 1 of 2 records" in done.err


def test_one_line_tells_of_all_figures_that_lack_the_same(ran: Bench) -> None:
    for record in find_records(ran.out):
        (record.folder / "labels.npz").unlink()
    done = ran("figures", "confusion", "--seed", "0", "--seed", "1")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("bench: confusion of kmeans-digits-smoke-s0-")
    assert "Try: bench run --method kmeans --dataset digits --preset smoke --seeds 0, --out bench-results --force" in line


def test_pictures_that_cannot_be_written_are_one_line(ran: Bench) -> None:
    Path("file").write_text("")
    done = ran("figures", "confusion", "--to", "file/pictures")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "Cannot write" in done.err
