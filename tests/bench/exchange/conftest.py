"""Two laboratories: `theirs`, whose finished runs are in a bundle, and `bench.out`, which takes it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from clusterbench.bench.cli import main

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def runs_of_oxford(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the records of two real runs: k-means on digits with seeds 0 and 1."""
    out = tmp_path_factory.mktemp("oxford")
    words = ("--method", "kmeans", "--dataset", "digits", "--preset", "smoke", "--seeds", "2", "--mlflow", "off", "-q")
    assert main(("run", *words, "--address", "none", "--out", str(out))) == 0
    return out


@pytest.fixture(scope="session")
def bundle_of_oxford(runs_of_oxford: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both of them, packed by `bench export`."""
    bundle = tmp_path_factory.mktemp("bundle") / "oxford.tar.gz"
    assert main(("export", str(bundle), "--lab", "oxford", "--out", str(runs_of_oxford), "-q")) == 0
    return bundle


@pytest.fixture
def theirs(runs_of_oxford: Path, tmp_path: Path) -> Path:
    """A copy of the records that a test may change."""
    return Path(shutil.copytree(runs_of_oxford, tmp_path / "theirs"))


@pytest.fixture
def bundle(bundle_of_oxford: Path, tmp_path: Path) -> Path:
    """A copy of the bundle."""
    return Path(shutil.copy(bundle_of_oxford, tmp_path / "oxford.tar.gz"))
