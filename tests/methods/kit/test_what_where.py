import numpy as np
import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.what_where import Passes, WhatWhereNetwork, stage_losses


@torch.no_grad()
def transparent(pool: int, side: int) -> WhatWhereNetwork:
    """One stage whose convolutions hand their input on."""
    network = WhatWhereNetwork((1, side, side), [(1,)], [pool], code=None)
    for name, parameter in network.named_parameters():
        parameter.zero_()
        if name.endswith("weight"):
            parameter[0, 0, 1, 1] = 1
    return network


@pytest.mark.parametrize(("pool", "side"), [(2, 6), (2, 7), (3, 7)])
def test_maxima_come_back_to_where_they_were_and_nothing_else_does(pool: int, side: int) -> None:
    images = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0)) + 0.1
    wanted = np.zeros((2, 1, side, side), np.float32)
    for n in range(2):
        for top in range(0, side - pool + 1, pool):
            for left in range(0, side - pool + 1, pool):
                window = images[n, 0, top : top + pool, left : left + pool]
                row, column = divmod(int(window.argmax()), pool)
                wanted[n, 0, top + row, left + column] = window.max()
    network = transparent(pool, side)
    with torch.no_grad():
        assert np.array_equal(network(images).down[0].numpy(), wanted)
        assert network.encode(images).shape == (2, (side // pool) ** 2) == (2, network.features)


@pytest.mark.parametrize("code", [None, 5])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 9, 15), (3, 32, 32)])
def test_every_stage_comes_back_in_its_own_shape(shape: tuple[int, int, int], code: int | None) -> None:
    network = WhatWhereNetwork(shape, [(4,), (6, 8)], [2, 3], code)
    up, down = network(torch.rand(3, *shape))
    assert len(up) == 3 + (code is not None) and len(down) == len(up) - 1
    assert all(a.shape == b.shape for a, b in zip(up, down, strict=False))
    assert network.encode(torch.rand(3, *shape)).shape == (3, network.features)


def test_every_weight_is_learned() -> None:
    torch.manual_seed(0)
    network = WhatWhereNetwork((1, 12, 12), [(4,), (6, 8)], [2, 3], code=5)
    torch.stack(stage_losses(network(torch.rand(8, 1, 12, 12)))).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_losses_are_half_squared_distances_from_the_image_upwards() -> None:
    random = np.random.default_rng(0)
    up, down = ([random.normal(size=(3, width, 2)) for width in (2, 4)] for _ in range(2))
    wanted = [0.5 * sum(float(((a[n] - b[n]) ** 2).sum()) for n in range(3)) / 3 for a, b in zip(up, down, strict=True)]
    passes = Passes((*map(torch.tensor, up), torch.zeros(3, 1)), tuple(map(torch.tensor, down)))
    assert [loss.item() for loss in stage_losses(passes)] == pytest.approx(wanted, rel=1e-5)


def test_the_authors_network_for_96_pixels_ends_in_2x2_maps_of_512_channels() -> None:
    widths = [(64,), (64,), (128, 128), (256, 256, 256, 512, 512, 512)]
    with torch.device("meta"):
        network = WhatWhereNetwork((3, 96, 96), widths, [4, 3, 2, 2], code=None)
        assert network(torch.empty(2, 3, 96, 96)).down[0].shape == (2, 3, 96, 96)
    assert network.features == 512 * 2 * 2


@pytest.mark.parametrize(
    ("widths", "pools", "message"),
    [([(4,)] * 4, [2] * 4, "8x8 are too small for poolings of"), ([(4,), (8,)], [2], "got 2 of widths and 1 of pools")],
)
def test_networks_that_cannot_be_are_refused(widths: list[tuple[int, ...]], pools: list[int], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        WhatWhereNetwork((1, 8, 8), widths, pools, code=None)
