"""The garbage collector is held up and let go again."""

from __future__ import annotations

import contextlib
import gc

from clusterbench.results.collector import uncollected


class Node:
    """Something that only the collector can free: it holds itself."""

    def __init__(self, freed: list[str], name: str) -> None:
        self.me, self.freed, self.name = self, freed, name

    def __del__(self) -> None:
        self.freed.append(self.name)


def test_a_collection_inside_passes_over_what_was_there_before() -> None:
    freed: list[str] = []
    gc.collect()
    Node(freed, "before")
    with uncollected():
        Node(freed, "inside")
        gc.collect()
        assert freed == ["inside"]
    gc.collect()
    assert freed == ["inside", "before"]


def test_the_collector_is_as_it_was_also_after_an_error() -> None:
    with contextlib.suppress(ZeroDivisionError), uncollected():
        assert not gc.isenabled()
        raise ZeroDivisionError
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
