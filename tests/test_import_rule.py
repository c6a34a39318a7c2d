"""The import rule of pyproject.toml holds for the tree as it is, and bites where somebody breaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ("bench", "methods", "datasets", "results")
VIOLATIONS = {  # module of a room that breaks the rule -> what it imports, and how that reads in the report
    "results.above": ("from ..bench import cli", "clusterbench.results.above -> clusterbench.bench.cli"),
    "results.beside": ("from ..datasets import base", "clusterbench.results.beside -> clusterbench.datasets.base"),
    "datasets.above": ("from ..methods import base", "clusterbench.datasets.above -> clusterbench.methods.base"),
    "datasets.beside": ("from ..results import metrics", "clusterbench.datasets.beside -> clusterbench.results.metrics"),
    "methods.above": ("from ..bench import cli", "clusterbench.methods.above -> clusterbench.bench.cli"),
    "methods.labels": ("from ..datasets import catalogue", "clusterbench.methods.labels -> clusterbench.datasets.catalogue"),
    "methods.metric": ("from ..results import metrics", "clusterbench.methods.metric -> clusterbench.results.metrics"),
    "methods.kit.deep": ("from ...results import metrics", "clusterbench.methods.kit.deep -> clusterbench.results.metrics"),
    "methods.tracker": ("def log():\n    import mlflow", "clusterbench.methods.tracker -> mlflow"),
    "datasets.tables": ("import pandas", "clusterbench.datasets.tables -> pandas"),
}


def copy_of(checkout: Path, target: Path) -> Path:
    for room in ROOMS:
        shutil.copytree(checkout / room, target / "clusterbench" / room, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def lint(tree: Path, checkout: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with the project's contracts, on the package that lies in `tree`."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", checkout / "pyproject.toml"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def report(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the tree with every violation in it."""
    tree = copy_of(checkout, tmp_path_factory.mktemp("violated"))
    for module, (code, _) in VIOLATIONS.items():
        (tree / "clusterbench" / module.replace(".", "/")).with_suffix(".py").write_text(f"{code}\n")
    result = lint(tree, checkout)
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout


def test_the_tree_keeps_the_rule(checkout: Path, tmp_path: Path) -> None:
    result = lint(copy_of(checkout, tmp_path), checkout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 kept, 0 broken" in result.stdout


def test_every_contract_can_be_broken(report: str) -> None:
    assert "0 kept, 3 broken" in report


@pytest.mark.parametrize("module", VIOLATIONS)
def test_a_violation_is_reported(report: str, module: str) -> None:
    assert VIOLATIONS[module][1] in report
