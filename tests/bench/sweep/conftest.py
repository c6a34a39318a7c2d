"""Makes `sweep_fakes` importable and registers its method where a test asks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture
def valley() -> Iterator[type]:
    """The method `valley`, registered for one test."""
    import sweep_fakes

    with sweep_fakes.valley() as method:
        yield method
