"""How many images a second the batched operations make, beside kornia's and torchvision's, in one run.

    python -m clusterbench.methods.kit.augment.benchmark --threads 1

Every contestant draws its parameters and applies them, as in use: ours and kornia's to the whole batch, torchvision's
transforms (v2) to one image at a time, which is the only way there to give each image parameters of its own. kornia
draws one order of colour jitter for the whole batch, the other two one per image. kornia is left out where it is not installed.

Each contestant runs its rounds in one go, after two that do not count, so that it finds the memory it freed itself; the median
round counts. One CPU thread is timed by the processor time it used, which other load on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torchvision
from torch import Generator, Tensor, nn
from torchvision.transforms import v2

from ..contrastive_views import SimCLRViews, SimCLRViewSettings
from . import (
    affine,
    bernoulli,
    brightness,
    choice,
    color_jitter,
    contrast,
    crop_and_resize,
    crop_positions,
    greyscale,
    horizontal_flip,
    hue,
    jitter,
    resized_crop_boxes,
    rotate,
    saturation,
    sobel_input,
    to_grey,
    uniform,
)

GREY, RGB = (1, 28, 28), (3, 32, 32)
SIMCLR = SimCLRViewSettings()  # CIFAR-10's
WARM_UP = 2  # rounds that do not count
ONE_BY_ONE = 100  # images that torchvision gets, as it takes a millisecond for each


@dataclass(frozen=True)
class Case:
    """One task of the benchmark.

    Attributes:
        name: what the table calls it.
        shape: (C, H, W) of the images.
        ours: images and generator to images.
        kornia: from kornia's `augmentation` and `filters` modules to a function of a batch.
        torchvision: of one image (C, H, W); None where it has no such operation.
    """

    name: str
    shape: tuple[int, int, int]
    ours: Callable[[Tensor, Generator], Tensor]
    kornia: Callable[[Any, Any], Callable[[Tensor], Tensor]]
    torchvision: Callable[[Tensor], Tensor] | None


@dataclass
class Contestant:
    """A function of a batch, how many images it gets, and the seconds its rounds took."""

    run: Callable[[], object]
    images: int
    seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images a second in the median round."""
        return self.images / statistics.median(self.seconds)


def mnist_ours(images: Tensor, random: Generator) -> Tensor:
    """IIC's transformed view of MNIST: rotation of every second image, crop of one of three sizes, brightness and contrast."""
    n = len(images)
    degrees = uniform(n, -25, 25, random).where(bernoulli(n, 0.5, random), 0.0)
    side = choice(n, [16, 20, 24], random)
    top, left = crop_positions(28, 28, side, side, random)
    images = crop_and_resize(rotate(images, degrees), top, left, side, side, 24)
    return color_jitter(images, *jitter(n, 0.4, 0.4, 0.0, 0.0, random))


def mnist_kornia(augmentation: Any, filters: Any) -> Callable[[Tensor], Tensor]:
    return nn.Sequential(
        augmentation.RandomRotation(25.0, resample="nearest", p=0.5),
        augmentation.RandomResizedCrop((24, 24), scale=((16 / 28) ** 2, (24 / 28) ** 2), ratio=(1.0, 1.0)),
        augmentation.ColorJitter(0.4, 0.4, 0.0, 0.0, p=1.0),
    )


def cifar_ours(images: Tensor, random: Generator) -> Tensor:
    """IIC's transformed view of CIFAR-10: crop of 20 pixels to 32, flip, all of colour jitter, Sobel edges."""
    n = len(images)
    side = torch.full((n,), 20, device=images.device)
    top, left = crop_positions(32, 32, side, side, random)
    images = crop_and_resize(images, top, left, side, side, 32, flip=bernoulli(n, 0.5, random))
    return sobel_input(color_jitter(images, *jitter(n, 0.4, 0.4, 0.4, 0.125, random)))


def cifar_kornia(augmentation: Any, filters: Any) -> Callable[[Tensor], Tensor]:
    colours = nn.Sequential(
        augmentation.RandomResizedCrop((32, 32), scale=((20 / 32) ** 2, (20 / 32) ** 2), ratio=(1.0, 1.0)),
        augmentation.RandomHorizontalFlip(p=0.5),
        augmentation.ColorJitter(0.4, 0.4, 0.4, 0.125, p=1.0),
    )
    return lambda images: filters.spatial_gradient(to_grey(colours(images)), normalized=False)


def cifar_torchvision() -> Callable[[Tensor], Tensor]:
    colours = v2.Compose(
        [v2.RandomCrop(20), v2.Resize(32), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.125), v2.Grayscale()]
    )
    kernels = torch.tensor([[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]]).unsqueeze(1)
    return lambda image: nn.functional.conv2d(colours(image), kernels.to(image.device), padding=1)


def simclr_kornia(augmentation: Any, filters: Any) -> Callable[[Tensor], Tensor]:
    return nn.Sequential(
        augmentation.RandomResizedCrop((32, 32), scale=(0.2, 1.0)),
        augmentation.RandomHorizontalFlip(p=0.5),
        augmentation.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        augmentation.Normalize(torch.tensor(SIMCLR.mean), torch.tensor(SIMCLR.std)),
    )


def simclr_torchvision() -> Callable[[Tensor], Tensor]:
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8)
    cut = [v2.RandomResizedCrop(32, scale=(0.2, 1.0)), v2.RandomHorizontalFlip()]
    return v2.Compose([*cut, jitter, v2.RandomGrayscale(0.2), v2.Normalize(SIMCLR.mean, SIMCLR.std)])


def affine_ours(images: Tensor, random: Generator) -> Tensor:
    n = len(images)
    shift, shear = (torch.stack([uniform(n, -reach, reach, random) for _ in range(2)], dim=1) for reach in (3, 10))
    return affine(images, uniform(n, -18, 18, random), shift, uniform(n, 0.9, 1.1, random), shear)


def factor(operation: Callable[[Tensor, Tensor], Tensor], low: float, high: float) -> Callable[[Tensor, Generator], Tensor]:
    return lambda images, random: operation(images, uniform(len(images), low, high, random))


def masked(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Generator], Tensor]:
    return lambda images, random: operation(images, bernoulli(len(images), 0.5, random))


CASES = [
    Case(
        "MNIST view 28 to 24: rotate, crop, jitter",
        GREY,
        mnist_ours,
        mnist_kornia,
        v2.Compose(
            [
                v2.RandomApply([v2.RandomRotation((-25, 25))]),
                v2.RandomChoice([v2.RandomCrop(side) for side in (16, 20, 24)]),
                v2.Resize(24),
                v2.ColorJitter(0.4, 0.4),
            ]
        ),
    ),
    Case("CIFAR view 32: crop, flip, jitter, Sobel", RGB, cifar_ours, cifar_kornia, cifar_torchvision()),
    Case("SimCLR view 32: crop, flip, jitter, grey", RGB, SimCLRViews(SIMCLR, RGB).view, simclr_kornia, simclr_torchvision()),
    Case(
        "rotate, nearest (grey 28)",
        GREY,
        factor(rotate, -25, 25),
        lambda augmentation, filters: augmentation.RandomRotation(25.0, resample="nearest", p=1.0),
        v2.RandomRotation((-25, 25)),
    ),
    Case(
        "affine, bilinear",
        RGB,
        affine_ours,
        lambda augmentation, filters: augmentation.RandomAffine(18.0, (0.1, 0.1), (0.9, 1.1), 10.0, p=1.0),
        v2.RandomAffine((-18, 18), (0.1, 0.1), (0.9, 1.1), 10, v2.InterpolationMode.BILINEAR),
    ),
    Case(
        "random resized crop",
        RGB,
        lambda images, random: crop_and_resize(images, *resized_crop_boxes(len(images), 32, 32, random), size=32),
        lambda augmentation, filters: augmentation.RandomResizedCrop((32, 32)),
        v2.RandomResizedCrop(32),
    ),
    Case(
        "horizontal flip",
        RGB,
        masked(horizontal_flip),
        lambda augmentation, filters: augmentation.RandomHorizontalFlip(p=0.5),
        v2.RandomHorizontalFlip(),
    ),
    Case(
        "greyscale",
        RGB,
        masked(greyscale),
        lambda augmentation, filters: augmentation.RandomGrayscale(p=0.5),
        v2.RandomGrayscale(0.5),
    ),
    Case(
        "brightness",
        RGB,
        factor(brightness, 0.6, 1.4),
        lambda augmentation, filters: augmentation.ColorJitter(brightness=0.4, p=1.0),
        v2.ColorJitter(brightness=0.4),
    ),
    Case(
        "contrast",
        RGB,
        factor(contrast, 0.6, 1.4),
        lambda augmentation, filters: augmentation.ColorJitter(contrast=0.4, p=1.0),
        v2.ColorJitter(contrast=0.4),
    ),
    Case(
        "saturation",
        RGB,
        factor(saturation, 0.6, 1.4),
        lambda augmentation, filters: augmentation.ColorJitter(saturation=0.4, p=1.0),
        v2.ColorJitter(saturation=0.4),
    ),
    Case(
        "hue",
        RGB,
        factor(hue, -0.125, 0.125),
        lambda augmentation, filters: augmentation.ColorJitter(hue=0.125, p=1.0),
        v2.ColorJitter(hue=0.125),
    ),
    Case(
        "colour jitter",
        RGB,
        lambda images, random: color_jitter(images, *jitter(len(images), 0.4, 0.4, 0.4, 0.125, random)),
        lambda augmentation, filters: augmentation.ColorJitter(0.4, 0.4, 0.4, 0.125, p=1.0),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.125),
    ),
    Case(
        "Sobel edges",
        RGB,
        lambda images, random: sobel_input(images),
        lambda augmentation, filters: lambda images: filters.spatial_gradient(to_grey(images), normalized=False),
        None,
    ),
]


def contestants(case: Case, n: int, device: str) -> dict[str, Contestant]:
    """Ours, kornia's (if installed) and torchvision's (if it has the operation), on the same random images."""
    random = Generator(device).manual_seed(0)
    images = torch.rand((n, *case.shape), generator=random, device=device)
    found = {"ours": Contestant(lambda: case.ours(images, random), n)}
    if importlib.util.find_spec("kornia"):
        modules = (importlib.import_module(f"kornia.{name}") for name in ("augmentation", "filters"))
        batched = case.kornia(*modules)
        found["kornia"] = Contestant(lambda: batched(images), n)
    one, few = case.torchvision, images[:ONE_BY_ONE]
    if one is not None:
        found["torchvision"] = Contestant(lambda: torch.stack([one(image) for image in few]), len(few))
    return found


@torch.inference_mode()
def race(entered: dict[str, Contestant], rounds: int, device: str, clock: Callable[[], float]) -> None:
    """Time `rounds` rounds of each contestant."""
    for one in entered.values():
        for count in range(-WARM_UP, rounds):
            synchronise(device)
            start = clock()
            one.run()
            synchronise(device)
            if count >= 0:
                one.seconds.append(clock() - start)


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def row(case: Case, entered: dict[str, Contestant]) -> str:
    """A line of the table: images a second, and how many times as fast ours is."""
    ours, cells = entered["ours"].rate, []
    for name in ("kornia", "torchvision"):
        rate = entered[name].rate if name in entered else None
        cells.append(f"{rate:>12,.0f} {ours / rate:>7.1f}x" if rate else f"{'-':>12} {'':>8}")
    return f"{case.name:<42} {ours:>12,.0f} {' '.join(cells)}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Images per second of batched augmentation.")
    parser.add_argument("--images", type=int, default=512, help="images in a batch")
    parser.add_argument("--rounds", type=int, default=9, help="rounds timed, of which the median counts")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    torch.empty(31 * 2**20, dtype=torch.uint8)  # once glibc has freed a block of that size, it keeps freed memory for later
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {given.device}, {platform.machine()}")
    clock = time.process_time if given.device == "cpu" and given.threads == 1 else time.perf_counter
    print(f"{given.threads} thread(s), batches of {given.images}, median of {given.rounds} rounds by {clock.__name__}")
    print("images per second, and how many times as fast ours is")
    print(f"{'':<42} {'ours':>12} {'kornia':>12} {'ratio':>8} {'torchvision':>12} {'ratio':>8}")
    for case in CASES:
        entered = contestants(case, given.images, given.device)
        race(entered, given.rounds, given.device, clock)
        print(row(case, entered), flush=True)


if __name__ == "__main__":
    main()
