"""What all tests share: a clean environment, and the real data where it lies beside the checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED_DATA = CHECKOUT.parent / "shared" / "data"

# Before anything imports torch. The suite may run in several workers, and its tensors are too small for threads to pay.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting and no cached data of the person who runs the tests reaches a test, nor a process that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CLUSTERBENCH_", "MLFLOW_", "RAY_")):
                patch.delenv(name)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout that the tests lie in; what they import is the installed package."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A read-only data root with real images; the test is skipped where there is none."""
    if not (SHARED_DATA / "MNIST" / "raw").is_dir():
        pytest.skip("no real data in ../shared/data beside the checkout (tests/README.md)")
    return SHARED_DATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark `data` whatever uses real data."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
