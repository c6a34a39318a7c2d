"""What all operations promise: pure, independent per image, identity where asked, any batch size, no waiting for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from clusterbench.methods.kit import augment
from clusterbench.methods.kit.augment import images as blocks
from clusterbench.methods.kit.augment.rand_augment import OPERATIONS as RAND_AUGMENT

Parameters = Sequence[Tensor]


@dataclass(frozen=True)
class Operation:
    """An operation, how its parameters (N, ...) are drawn for images (C, H, W), and the parameters that change nothing."""

    apply: Callable[..., Tensor]
    draw: Callable[[int, tuple[int, int, int], Generator], Parameters]
    identity: Callable[[int, tuple[int, int, int]], Parameters] | None = None


def draw_affine(n: int, shape: tuple[int, int, int], generator: Generator) -> Parameters:
    angle, scale = augment.uniform(n, -90, 90, generator), augment.uniform(n, 0.5, 2, generator)
    shift, shear = (augment.uniform(2 * n, -9, 9, generator).view(n, 2) for _ in range(2))
    return angle, shift, scale, shear


def factor(low: float, high: float) -> Callable[[int, tuple[int, int, int], Generator], Parameters]:
    return lambda n, shape, generator: [augment.uniform(n, low, high, generator)]


def no_jitter(n: int, shape: tuple[int, int, int]) -> Parameters:
    return torch.ones(n), torch.ones(n), torch.ones(n), torch.zeros(n), torch.arange(4).expand(n, 4)


def mask(n: int, shape: tuple[int, int, int], generator: Generator) -> Parameters:
    return [augment.bernoulli(n, 0.5, generator)]


def resized(images: Tensor, *parameters: Tensor) -> Tensor:
    boxes, flip = parameters[:4], parameters[4]
    return augment.crop_and_resize(images, *boxes, size=(images.shape[2], images.shape[3]), flip=flip)


def draw_boxes(n: int, shape: tuple[int, int, int], generator: Generator) -> Parameters:
    return [*augment.resized_crop_boxes(n, *shape[1:], generator), augment.bernoulli(n, 0.5, generator)]


def whole_image(n: int, shape: tuple[int, int, int]) -> Parameters:
    sides = [torch.full((n,), side) for side in shape[1:]]
    return [torch.zeros(n), torch.zeros(n), *sides, torch.zeros(n, dtype=torch.bool)]


def draw_operations(n: int, shape: tuple[int, int, int], generator: Generator) -> Parameters:
    return augment.random_operations(n, 4, generator)


def rest(n: int, shape: tuple[int, int, int]) -> Parameters:
    return torch.full((n, 4), RAND_AUGMENT.index("identity")), torch.rand(n, 4)


def nothing(n: int, shape: tuple[int, int, int], generator: Generator) -> Parameters:
    return []


def draw_squares(n: int, shape: tuple[int, int, int], generator: Generator) -> Parameters:
    side = augment.integers(n, min(shape[1:]), generator)
    return [*augment.crop_positions(*shape[1:], side, side, generator), side]


OPERATIONS = {
    "affine": Operation(
        augment.affine, draw_affine, lambda n, shape: (torch.zeros(n), torch.zeros(n, 2), torch.ones(n), torch.zeros(n, 2))
    ),
    "rotate": Operation(augment.rotate, factor(-180, 180), lambda n, shape: [torch.zeros(n)]),
    "crop": Operation(
        lambda images, top, left: augment.crop(images, top, left, (images.shape[2] - 2, images.shape[3] - 2)),
        lambda n, shape, generator: [augment.integers(n, 3, generator) for _ in range(2)],
    ),
    "crop_and_resize": Operation(resized, draw_boxes, whole_image),
    "horizontal_flip": Operation(augment.horizontal_flip, mask, lambda n, shape: [torch.zeros(n, dtype=torch.bool)]),
    "cutout": Operation(augment.cutout, draw_squares, lambda n, shape: [torch.zeros(n)] * 3),
    "greyscale": Operation(augment.greyscale, mask, lambda n, shape: [torch.zeros(n, dtype=torch.bool)]),
    "brightness": Operation(augment.brightness, factor(0, 2), lambda n, shape: [torch.ones(n)]),
    "contrast": Operation(augment.contrast, factor(0, 2), lambda n, shape: [torch.ones(n)]),
    "saturation": Operation(augment.saturation, factor(0, 2), lambda n, shape: [torch.ones(n)]),
    "hue": Operation(augment.hue, factor(-0.5, 0.5), lambda n, shape: [torch.zeros(n)]),
    "color_jitter": Operation(
        augment.color_jitter, lambda n, shape, generator: augment.jitter(n, 0.8, 0.8, 0.8, 0.5, generator), no_jitter
    ),
    "sobel_input": Operation(lambda images: augment.sobel_input(images, include_rgb=True), nothing),
    "invert": Operation(augment.invert, nothing),
    "autocontrast": Operation(augment.autocontrast, nothing),
    "equalize": Operation(augment.equalize, nothing),
    "posterize": Operation(augment.posterize, factor(1, 9)),
    "solarize": Operation(augment.solarize, factor(0, 1), lambda n, shape: [torch.full((n,), 1.1)]),
    "sharpness": Operation(augment.sharpness, factor(0, 2), lambda n, shape: [torch.ones(n)]),
    "rand_augment": Operation(augment.rand_augment, draw_operations, rest),
}
COLOUR_ONLY = ("saturation", "hue", "greyscale")
WITHOUT_PARAMETERS = ("sobel_input", "invert", "autocontrast", "equalize")
PICKS_IMAGES_ON_A_CPU = ("rand_augment",)  # its own test shows that it does so nowhere else


@pytest.fixture(params=[(1, 28, 28), (3, 32, 32), (3, 9, 17)], ids=str)
def shape(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    return request.param


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> Operation:
    return OPERATIONS[request.param]


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.identity])
def test_identity_parameters_return_the_images(name: str, images: Tensor, shape: tuple[int, int, int]) -> None:
    one = OPERATIONS[name]
    assert one.identity
    parameters = [values.to(images.device) for values in one.identity(len(images), shape)]
    torch.testing.assert_close(one.apply(images, *parameters), images, atol=1e-5, rtol=0)


def test_nearest_rotation_by_zero_is_exact(images: Tensor) -> None:
    assert torch.equal(augment.rotate(images, torch.zeros(len(images), device=images.device)), images)


def test_an_image_is_untouched_by_what_its_neighbours_hold(
    operation: Operation, images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    parameters, alone = operation.draw(len(images), shape, generator), 5
    broken = torch.full_like(images, torch.nan)
    broken[alone] = images[alone]
    expected = operation.apply(images, *parameters)[alone]
    torch.testing.assert_close(operation.apply(broken, *parameters)[alone], expected, atol=1e-6, rtol=0)
    single = operation.apply(images[alone : alone + 1], *(values[alone : alone + 1] for values in parameters))
    torch.testing.assert_close(single[0], expected, atol=1e-6, rtol=0)


def test_equal_images_come_out_different(
    operation: Operation, images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    same = images[-1:].expand_as(images)
    result = operation.apply(same, *operation.draw(len(images), shape, generator))
    colour_only = operation in [OPERATIONS[name] for name in COLOUR_ONLY]
    fixed = operation in [OPERATIONS[name] for name in WITHOUT_PARAMETERS]
    expected_alike = fixed or (colour_only and images.shape[1] == 1)
    assert (len(result.unique(dim=0)) == 1) == expected_alike


def test_the_input_is_not_changed(
    operation: Operation, images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    before = images.clone()
    operation.apply(images, *operation.draw(len(images), shape, generator))
    assert torch.equal(images, before)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_empty_and_single_batches_work(operation: Operation, generator: Generator, n: int, channels: int) -> None:
    images = torch.rand((n, channels, 12, 10), generator=generator, device=generator.device)
    result = operation.apply(images, *operation.draw(n, (channels, 12, 10), generator))
    assert len(result) == n and result.isfinite().all()


def test_blocks_of_a_batch_come_out_as_the_whole_batch(
    operation: Operation, images: Tensor, shape: tuple[int, int, int], generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = operation.draw(len(images), shape, generator)
    whole = operation.apply(images, *parameters)
    monkeypatch.setattr(blocks, "BLOCK", 5 * images[0].numel())  # 24 images: four blocks of five and a rest
    torch.testing.assert_close(operation.apply(images, *parameters), whole, atol=1e-6, rtol=0)


def test_large_batches_are_cut_into_blocks_with_their_own_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 3 * 4 // torch.get_num_threads())
    sizes = []

    def scale(images: Tensor, factor: Tensor) -> Tensor:
        sizes.append(len(images))
        return images * factor.view(-1, 1, 1, 1)

    images, factor = torch.rand(7, 1, 2, 2), torch.arange(7.0)
    assert torch.equal(blocks.in_blocks(scale, images, factor), images * factor.view(-1, 1, 1, 1))
    assert sizes == [3, 3, 1]


def test_views_are_taken_as_well_as_contiguous_images(
    operation: Operation, images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    parameters = operation.draw(len(images), shape, generator)
    view = images.transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(operation.apply(view, *parameters), operation.apply(images, *parameters), atol=1e-6, rtol=0)


def test_double_precision_is_kept(
    operation: Operation, images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    parameters = operation.draw(len(images), shape, generator)
    result = operation.apply(images.double(), *parameters)
    assert result.dtype == torch.float64
    assert ((result - operation.apply(images, *parameters)).abs() > 1e-4).double().mean() < 1e-3  # nearest pixels may tie


class NothingReadBack(TorchDispatchMode):
    """Fails on what makes the host wait for a device: reading a value, counting a mask, or sending a list of numbers."""

    FORBIDDEN = (
        "aten._local_scalar_dense",
        "aten.nonzero",
        "aten.masked_select",
        "aten.lift_fresh",
        "aten.equal",
        "aten.is_nonzero",
    )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert not str(func).startswith(self.FORBIDDEN), f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in PICKS_IMAGES_ON_A_CPU])
def test_no_operation_and_no_draw_reads_a_value_back_from_the_device(
    name: str, images: Tensor, shape: tuple[int, int, int], generator: Generator
) -> None:
    operation = OPERATIONS[name]
    with NothingReadBack():
        operation.apply(images, *operation.draw(len(images), shape, generator))
        augment.choice(len(images), [16, 20, 24], generator)


def test_the_guard_against_reading_back_works() -> None:
    with pytest.raises(AssertionError, match="waits for the device"), NothingReadBack():
        torch.rand(3).max().item()


@pytest.mark.gpu
def test_no_operation_makes_the_gpu_wait(operation: Operation) -> None:
    generator = Generator("cuda").manual_seed(1)
    images = torch.rand((16, 3, 32, 32), generator=generator, device="cuda")
    operation.apply(images, *operation.draw(16, (3, 32, 32), generator))  # loads libraries, which may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        operation.apply(images, *operation.draw(16, (3, 32, 32), generator))
    finally:
        torch.cuda.set_sync_debug_mode("default")
