"""The wheel: all of the four rooms under one import name, and Hugging Face's `datasets` unharmed beside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOMS = ("bench", "methods", "datasets", "results")
OUTSIDE = dict(os.environ)  # as it was before the tests' clean environment: the package cache and proxies of this machine
UNREACHABLE = re.compile(
    r"error sending request|dns error|failed to (fetch|download)|connection|timed out|offline", re.IGNORECASE
)
HUGGING_FACE = """
import datasets
table = datasets.Dataset.from_dict({"label": [3, 1, 4]})
assert table.sort("label")["label"][:] == [1, 3, 4], table
"""
OURS = """
import clusterbench.datasets.registry, clusterbench.datasets.catalogue as catalogue, clusterbench.bench.cli
assert "digits" in catalogue.datasets.names()
print(clusterbench.datasets.registry.__file__)
"""
DIGITS = """
assert catalogue.load("digits").under("full").train.shape == (1, 8, 8)
"""


OUR_RUNS = {"reproduced", "benchmarks"}  # folders of results


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run uv, which comes with the test dependencies."""
    program = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), OUTSIDE["PATH"]]))
    if program is None:
        pytest.skip("uv is not installed (pip install uv)")
    return subprocess.run([program, *arguments], env=OUTSIDE, capture_output=True, text=True, check=False)


def python(executable: Path | str, *arguments: str, **environment: str) -> str:
    """The output of a Python process that starts in a folder of its own and must succeed."""
    result = subprocess.run(
        [executable, *arguments], env={**os.environ, **environment}, cwd="/", capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def files_of(checkout: Path) -> set[str]:
    """What belongs into the wheel: every file of the rooms, but for what our own runs gave, which stays in the repository."""
    found = (path.relative_to(checkout) for room in ROOMS for path in (checkout / room).rglob("*") if path.is_file())
    return {f"clusterbench/{path.as_posix()}" for path in found if not {"__pycache__", *OUR_RUNS} & set(path.parts)}


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the checkout, so that nothing left over from an earlier build gets in."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for room in ROOMS:
        shutil.copytree(checkout / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / name, tree)
    built = uv("build", "--wheel", "--no-build-isolation", "--offline", "--python", sys.executable, "--out-dir", out, tree)
    assert built.returncode == 0, built.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path, checkout: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files_of(checkout)
    assert {"clusterbench/datasets/mnist.yaml", *(f"clusterbench/{room}/py.typed" for room in ROOMS)} <= names


def test_the_wheel_takes_no_top_level_name_but_its_own(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert [top for top in tops if not top.endswith(".dist-info")] == ["clusterbench"]


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        commands = archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert metadata["Name"] == "clusterbench"
    assert metadata["License-Expression"] == "MIT"
    assert "bench = clusterbench.bench.cli:main" in commands


def test_a_foreign_package_named_datasets_keeps_its_name(wheel: Path, tmp_path: Path) -> None:
    """The quick form of the test below: no registry is asked."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("class Dataset: owner = 'somebody else'\n")
    installed = uv("pip", "install", "--offline", "--no-deps", "--python", sys.executable, "--target", tmp_path, wheel)
    assert installed.returncode == 0, installed.stderr
    assert python(sys.executable, "-c", "import datasets; print(datasets.Dataset.owner)", PYTHONPATH=str(tmp_path)) == (
        "somebody else\n"
    )
    assert python(sys.executable, "-c", OURS, PYTHONPATH=str(tmp_path)).startswith(str(tmp_path))


@pytest.fixture(scope="module")
def neighbours(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment where Hugging Face's `datasets` was first and our wheel came second.

    What both need and this environment has (torch above all) is lent to it, not installed again.
    """
    home = tmp_path_factory.mktemp("neighbours") / "venv"
    executable = home / "bin" / "python"
    assert uv("venv", "--python", sys.executable, home).returncode == 0
    first = uv("pip", "install", "--python", executable, "datasets")
    if first.returncode and UNREACHABLE.search(first.stderr):
        pytest.skip(f"the package registry cannot be reached: {first.stderr.strip().splitlines()[-1]}")
    assert first.returncode == 0, first.stderr
    second = uv("pip", "install", "--python", executable, "--no-deps", wheel)
    assert second.returncode == 0, second.stderr
    site = next((home / "lib").glob("python3.*")) / "site-packages"
    (site / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return executable


def test_hugging_face_datasets_works_beside_the_wheel(neighbours: Path) -> None:
    python(neighbours, "-c", HUGGING_FACE, HF_HUB_OFFLINE="1")


def test_the_wheel_works_beside_hugging_face_datasets(neighbours: Path) -> None:
    assert python(neighbours, "-c", OURS).startswith(str(neighbours.parents[1]))
    assert "Usage" in python(neighbours.with_name("bench"), "--help")


def test_both_work_in_one_process(neighbours: Path) -> None:
    python(neighbours, "-c", HUGGING_FACE + OURS + DIGITS, HF_HUB_OFFLINE="1")
