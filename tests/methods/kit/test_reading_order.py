"""Orders against the plain reading of a tape that never ends."""

import numpy as np
import pytest
import torch

from clusterbench.methods.kit.reading_order import ReadingOrder

INDICES = torch.tensor([10, 11, 12, 13, 14, 15, 16])


def order(shuffle: str, size: int = 3, seed: int = 0) -> ReadingOrder:
    return ReadingOrder(INDICES, size, shuffle, seed, "test")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("size", [1, 3, 7, 20])
@pytest.mark.parametrize("first", [0, 1, 2, 9])
def test_stored_order_is_read_on_where_the_last_step_ended(size: int, first: int) -> None:
    tape = np.tile(INDICES, 40)
    found = order("never", size).batches(first, 4)
    assert [batch.tolist() for batch in found] == [tape[at * size : (at + 1) * size].tolist() for at in range(first, first + 4)]


@pytest.mark.parametrize("shuffle", ["never", "once", "always"])
def test_steps_are_the_same_however_they_are_asked_for(shuffle: str) -> None:
    whole = torch.cat(order(shuffle).batches(0, 14))
    pieces = torch.cat([batch for first, count in ((0, 5), (5, 1), (6, 8)) for batch in order(shuffle).batches(first, count)])
    assert torch.equal(whole, pieces)
    assert all(sorted(whole[at : at + 7].tolist()) == INDICES.tolist() for at in range(0, 42, 7)), "every pass reads each once"


def test_one_random_order_repeats_itself_and_new_ones_do_not() -> None:
    once, always = (torch.cat(order(shuffle).batches(0, 14)).view(-1, 7) for shuffle in ("once", "always"))
    assert (once == once[0]).all() and not torch.equal(once[0], INDICES)
    assert len({tuple(row.tolist()) for row in always}) > 1
    assert not torch.equal(once[0], order("once", 7, seed=1).batches(0, 1)[0])
