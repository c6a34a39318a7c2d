"""The loss of IIC's segmentation against a loop over displacements, scipy's correlation, conv2d and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import Tensor
from torch.nn import functional

from clusterbench.methods.kit import displaced_information_benchmark as benchmark
from clusterbench.methods.kit.displaced_information import (
    displaced_information_loss,
    displaced_joint,
    loss_of_joint,
    moved_at_random,
    undone,
)
from clusterbench.methods.kit.displaced_information_blocks import Blocks
from clusterbench.methods.kit.information import information_loss

SHAPES = [(2, 3, 9, 13, 2), (3, 2, 70, 41, 10), (1, 4, 5, 5, 0), (2, 2, 6, 7, 9), (1, 2, 130, 7, 3)]  # n, K, h, w, reach


def maps(n: int, clusters: int, height: int, width: int, dtype: torch.dtype = torch.float64, sharpness: float = 2.0) -> Tensor:
    return (sharpness * torch.randn(n, clusters, height, width, dtype=dtype)).softmax(1)


def two_maps(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return maps(*shape, dtype=dtype), maps(*shape, dtype=dtype)


def looped_loss(p: Tensor, q: Tensor, reach: int, mask: Tensor, weight: float, collapsed: bool) -> Tensor:
    """The definition, displacement by displacement and pair by pair, for one head; every pair is looked at on its own."""
    clusters, height, width = p.shape[1:]
    joints = []
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            joint = torch.zeros(clusters, clusters, dtype=p.dtype)
            for y in range(max(0, -down), min(height, height - down)):
                for x in range(max(0, -across), min(width, width - across)):
                    counts = (mask[:, y, x] & mask[:, y + down, x + across]).to(p.dtype)
                    joint = joint + torch.einsum("na,nb,n->ab", p[:, :, y + down, x + across], q[:, :, y, x], counts)
            joints.append(joint)
    if collapsed:
        joints = [torch.stack(joints).sum(0)]
    return torch.stack([negative_information(joint / joint.sum(), weight) for joint in joints]).mean()


def negative_information(joint: Tensor, weight: float) -> Tensor:
    joint = (joint + joint.T) / 2
    row, column = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    return -(joint * (joint.log() - weight * row.log() - weight * column.log())).sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_joint_and_its_gradients_are_those_of_the_authors_convolution(shape: tuple[int, int, int, int, int]) -> None:
    *size, reach = shape
    p, q = (each.requires_grad_() for each in two_maps(*size))
    ours, theirs = displaced_joint(p, q, reach), functional.conv2d(p.transpose(0, 1), q.transpose(0, 1), padding=reach)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(theirs)
    for found, wanted in zip(
        torch.autograd.grad(ours, (p, q), weights), torch.autograd.grad(theirs, (p, q), weights), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_joint_is_scipys_correlation() -> None:
    p, q = two_maps(1, 2, 40, 31)
    whole = correlate(p[0, 0].numpy(), q[0, 1].numpy(), mode="full")  # displacement zero stands at (39, 30)
    np.testing.assert_allclose(displaced_joint(p, q, 4)[0, 1].numpy(), whole[35:44, 26:35], rtol=1e-10)


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("weight", [1.0, 1.5])
def test_loss_in_float32_is_that_of_a_loop_over_displacements_and_pixels(weight: float, collapsed: bool) -> None:
    p, q = two_maps(2, 3, 9, 8)
    mask = torch.rand(2, 9, 8, generator=torch.Generator().manual_seed(1)) < 0.7
    wanted = looped_loss(p, q, 3, mask, weight, collapsed)
    found = displaced_information_loss(p.float(), q.float(), 3, mask=mask, entropy_weight=weight, collapsed=collapsed)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)


@pytest.mark.parametrize("clusters", [3, 15])
def test_loss_and_gradient_in_float32_at_a_real_size_are_those_of_a_loop_in_float64(clusters: int) -> None:
    p, q = two_maps(2, clusters, 64, 64)
    q = (p + q) / 2
    exact = [each.clone().requires_grad_() for each in (p, q)]
    rough = [each.float().requires_grad_() for each in (p, q)]
    wanted = loss_of_joint(benchmark.loop(*exact, 10))
    found = displaced_information_loss(*rough, 10)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)
    wanted.backward()
    found.backward()
    for one, other in zip(rough, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        assert (one.grad - other.grad).norm() < 1e-5 * other.grad.norm()


@pytest.mark.parametrize("collapsed", [False, True])
def test_gradcheck(collapsed: bool) -> None:
    p, q = two_maps(2, 2, 4, 5)
    mask = torch.tensor([1, 1, 0, 1, 1], dtype=torch.bool).expand(2, 4, 5)

    def loss(p: Tensor, q: Tensor) -> Tensor:
        return displaced_information_loss(p, q, 2, mask=mask, entropy_weight=1.5, collapsed=collapsed)

    assert torch.autograd.gradcheck(loss, (p.requires_grad_(), q.requires_grad_()))


def test_without_displacement_it_is_the_loss_of_clustering_on_all_pixels() -> None:
    p, q = two_maps(3, 4, 7, 6)
    pixels = [each.movedim(1, -1).flatten(0, 2) for each in (p, q)]
    found = displaced_information_loss(p, q, 0, entropy_weight=1.3)
    assert found.item() == pytest.approx(information_loss(*pixels, entropy_weight=1.3).item(), abs=1e-12)


@pytest.mark.parametrize("weight", [1.0, 1.5])
def test_one_large_region_of_each_cluster_reaches_the_lowest_value(weight: float) -> None:
    p = torch.zeros(3, 3, 20, 20)
    for cluster in range(3):
        p[cluster, cluster] = 1  # each image wholly in a cluster of its own
    assert displaced_information_loss(p, p, 4, entropy_weight=weight).item() == pytest.approx(
        (1 - 2 * weight) * math.log(3), abs=1e-5
    )


def test_undecided_pixels_have_no_information() -> None:
    p = torch.full((2, 5, 12, 12), 0.2)
    assert displaced_information_loss(p, p, 3).item() == pytest.approx(0, abs=1e-5)


def test_sub_heads_are_judged_one_by_one() -> None:
    heads = [two_maps(2, 3, 10, 10), (maps(2, 3, 10, 10), maps(2, 3, 10, 10))]
    p, q = (torch.stack(each) for each in zip(*heads, strict=True))
    alone = torch.stack([displaced_information_loss(*head, 2) for head in heads])
    torch.testing.assert_close(displaced_information_loss(p, q, 2), alone)


def test_masked_pixels_have_no_influence_and_get_no_gradient() -> None:
    p, q = two_maps(2, 3, 8, 8)
    mask = torch.ones(2, 8, 8, dtype=torch.bool)
    mask[:, :, 5:] = False
    other = torch.where(mask.unsqueeze(1), p, maps(2, 3, 8, 8)).requires_grad_()
    loss = displaced_information_loss(other, q, 2, mask=mask)
    torch.testing.assert_close(loss, displaced_information_loss(p, q, 2, mask=mask))
    torch.testing.assert_close(loss, displaced_information_loss(p[..., :5], q[..., :5], 2))
    loss.backward()
    assert other.grad is not None and not other.grad[..., 5:].any() and other.grad[..., :5].any()


def test_a_batch_without_a_pixel_that_counts_gives_zero_and_no_gradient() -> None:
    p, q = (each.requires_grad_() for each in two_maps(2, 3, 8, 8))
    loss = displaced_information_loss(p, q, 2, mask=torch.zeros(2, 8, 8, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and p.grad is not None and not p.grad.any()


def test_displacements_that_no_pair_has_do_not_count() -> None:
    p, q = (each.float().requires_grad_() for each in two_maps(2, 3, 8, 8))
    strip = torch.zeros(2, 8, 8, dtype=torch.bool)
    strip[:, :, 3:5] = True  # two columns: of five displacements across three have pairs
    loss = displaced_information_loss(p, q, 2, mask=strip)
    inner = [
        loss_of_joint(displaced_joint(p[..., 3:5], q[..., 3:5], 2)[:, :, down : down + 1, across : across + 1])
        for down in range(5)
        for across in range(1, 4)
    ]
    assert loss.item() == pytest.approx(torch.stack(inner).sum().item() / 25, abs=1e-5)
    loss.backward()
    assert p.grad is not None and torch.isfinite(p.grad).all()


def test_what_is_not_a_number_is_not_taken_for_nothing() -> None:
    p, q = two_maps(2, 3, 8, 8)
    p[0, 0, 0, 0] = math.nan
    assert math.isnan(displaced_information_loss(p, q, 2).item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_never_used(dtype: torch.dtype) -> None:
    p, q = (each.to(dtype) for each in two_maps(2, 3, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        found = displaced_information_loss(p, q, 2)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(displaced_information_loss(p.double(), q.double(), 2).item(), abs=1e-6)


def test_allowed_tf32_is_put_back() -> None:
    allowed = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        displaced_joint(*two_maps(1, 2, 5, 5), 1)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(allowed)


@pytest.mark.parametrize(("height", "width", "reach"), [(200, 128, 10), (62, 200, 5), (9, 3, 30), (1, 1, 0), (500, 33, 1)])
def test_blocks_cover_the_map_and_hold_the_displacements(height: int, width: int, reach: int) -> None:
    blocks = Blocks.of(torch.empty(1, 1, height, width), reach)
    for core, side, count, length in zip(blocks.cores, blocks.sides, blocks.count, (height, width), strict=True):
        assert side - core == 2 * reach and core >= 1
        assert count * core >= length > (count - 1) * core


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    p, q = two_maps(2, 3, 8, 8)
    with pytest.raises(ValueError, match="one shape"):
        displaced_information_loss(p, q[:1], 2)
    with pytest.raises(ValueError, match="reach"):
        displaced_joint(p, q, -1)


@pytest.mark.parametrize("heads", [None, 2])
def test_undone_moves_maps_as_the_matrix_says(heads: int | None) -> None:
    torch.manual_seed(0)
    images = maps(3, 2, 6, 9) if heads is None else torch.stack([maps(3, 2, 6, 9) for _ in range(heads)])
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(3, 2, 3)
    torch.testing.assert_close(undone(images, mirror), images.flip(-1), rtol=1e-6, atol=1e-6)
    two_right = torch.tensor([[1.0, 0, 2 * 2 / 8], [0, 1, 0]]).expand(3, 2, 3)  # 8 steps from -1 to 1
    torch.testing.assert_close(undone(images, two_right)[..., :7], images[..., 2:], rtol=1e-6, atol=1e-6)
    assert not undone(images, two_right)[..., 7:].any()


def test_random_moves_have_the_asked_distances_in_all_directions() -> None:
    point = torch.zeros(2, 1, 15, 15)
    point[..., 7, 7] = 1
    random, seen = torch.Generator().manual_seed(0), set()
    for _ in range(300):
        moved = moved_at_random(point, 2, 3, random)
        assert torch.equal(moved[0], moved[1])
        seen.add(tuple((moved[0, 0].nonzero()[0] - 7).tolist()))
    assert seen == {(down, across) for down in (-3, -2, 2, 3) for across in (-3, -2, 2, 3)}


@pytest.mark.parametrize("name", benchmark.CONTESTANTS)
def test_all_contestants_of_the_benchmark_compute_the_same(name: str) -> None:
    p, q = two_maps(2, 3, 12, 10)
    wanted = functional.conv2d(p.transpose(0, 1), q.transpose(0, 1), padding=3)
    torch.testing.assert_close(benchmark.CONTESTANTS[name](p, q, 3), wanted)


def test_benchmark_prints_time_and_memory_of_every_contestant(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--images", "1", "--size", "8", "--clusters", "2", "--reach", "1", "--rounds", "1", "--only", "ours", "loop"])
    head, row = capsys.readouterr().out.splitlines()[2:]
    assert head.split() == ["ours", "loop"]
    assert row.startswith("K = 2") and row.count(" s ") == 2 and row.count("MiB") == 2
