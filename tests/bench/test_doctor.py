"""`bench doctor`: what is broken is found, and only what trials need makes it fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_tools import Bench

from clusterbench.bench import doctor


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the seconds that MLflow takes where a test is about something else."""
    monkeypatch.setattr(doctor, "_mlflow", lambda: "not asked")


def found(out: Path, data_root: Path | None = None) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.checks(out, data_root)}


@pytest.mark.usefixtures("no_mlflow")
def test_a_working_machine_has_nothing_that_fails(tmp_path: Path) -> None:
    checks = found(tmp_path)
    assert [check for check in checks.values() if check.status == "fail"] == []
    assert checks["torch"].found == torch.__version__.partition("+")[0]
    assert "product and convolution right" in checks["cpu"].found
    assert checks["faiss"].found.endswith("neighbours right")
    assert checks["data ready"] == doctor.Check("data ready", "ok", "digits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_mlflow")
def test_what_is_not_ok_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    checks = found(tmp_path)
    assert {name for name, check in checks.items() if check.status == "warn"} >= {"faiss", "ray", "data not here"}
    assert all(check.advice for check in checks.values() if check.status != "ok")
    assert "mnist" in checks["data not here"].found.split(", ")
    assert "--download" in checks["data not here"].advice


@pytest.mark.usefixtures("no_mlflow")
def test_a_missing_package_that_trials_need_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    check = found(tmp_path)["safetensors"]
    assert check.status == "fail"
    assert "pip install" in check.advice


@pytest.mark.parametrize(
    "broken",
    [lambda x, k: torch.nn.functional.linear(x[:, 0, 0], k[:, 0, 0]) + 1, lambda x, k: torch.full((8, 8, 1, 1), torch.nan)],
)
def test_arithmetic_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    monkeypatch.setattr(torch.nn.functional, "conv2d", broken)
    with pytest.raises(ArithmeticError):
        doctor._arithmetic("cpu")


@pytest.mark.usefixtures("no_mlflow")
def test_an_output_folder_that_cannot_be_written_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ran = bench("doctor", "--out", "file/records")
    assert ran.code == 1
    line = next(line for line in ran.out.splitlines() if " output " in line)
    assert line.startswith("fail ")
    assert "Choose another folder with --out" in ran.out


@pytest.mark.usefixtures("no_mlflow")
def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shutil import disk_usage

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: disk_usage(folder)._replace(free=1024**3))
    assert found(tmp_path)["output"].status == "warn"


@pytest.mark.usefixtures("no_mlflow")
def test_a_data_root_that_is_no_folder_is_a_failure(bench: Bench) -> None:
    ran = bench("doctor", "--data-root", "nowhere")
    assert ran.code == 1
    assert "The data root nowhere (--data-root) is not a folder." in ran.out


@pytest.mark.data
@pytest.mark.usefixtures("no_mlflow")
def test_data_that_is_here_is_found_with_its_place(tmp_path: Path, shared_data: Path) -> None:
    assert found(tmp_path, shared_data)["data here"].found.startswith("mnist: not prepared yet")


def test_damaged_arrays_are_found(tmp_path: Path) -> None:
    from clusterbench.datasets.preparation.prepare import prepare

    folder = prepare("usps@sample", root=tmp_path)
    assert "data damaged" not in found(tmp_path, tmp_path)
    (folder / "images.npy").write_bytes(b"")
    damage = found(tmp_path, tmp_path)["data damaged"]
    assert damage.status == "warn" and "bench data prepare usps@sample --force" in damage.found


@pytest.mark.usefixtures("no_mlflow")
def test_json_has_the_same_checks(bench: Bench) -> None:
    ran = bench("doctor", "--json")
    assert ran.code == 0
    names = [check["name"] for check in json.loads(ran.out)]
    assert names[0] == "python"
    assert {"torch", "cpu", "ray", "mlflow", "output", "terminal"} <= set(names)
    assert [line.split()[1] for line in bench("doctor").out.splitlines() if line.split()[0] == "fail"] == []


def test_mlflow_writes_and_reads_a_run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check = doctor._guarded("mlflow", "warn", doctor._mlflow, "")
    assert check.status == "ok"
    assert check.found.endswith("a run written and read in SQLite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ray_starts_and_runs_a_task() -> None:
    assert doctor._ray(start=True).endswith("started with one worker and ran a task")


def test_ray_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RAY_TASK", "raise SystemExit('no room for a worker')")
    with pytest.raises(RuntimeError, match="no room for a worker"):
        doctor._ray(start=True)
