"""Batches augmented as a whole, beside the usual way: transforms of one image at a time, and a DataLoader.

    python -m clusterbench.bench.profile.per_image --dataset mnist --preset short --data-root DIR

The per-image contestants do what the authors of IIC did on MNIST: a loader of originals and one for each repeat, torchvision's
transforms on Pillow images, without workers as they ran it and with some. Everyone trains the same network with the same
pairs in a step. The authors' code sends the originals through it once for each repeat; the same result comes from sending them
once, so the per-image contestants run both ways. Everyone takes turns, and the median turn counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional

from ...datasets.base import Images
from ...datasets.catalogue import load
from ...methods.iic import IIC
from ...methods.kit.randomness import generator
from ..config import resolve
from ..devices import keep_freed_memory, set_threads

PREFETCHED = 2  # batches that a worker of a DataLoader prepares ahead, its default
AS_THE_AUTHORS = "as the authors, originals for each repeat"


class OneByOne(Dataset[Tensor]):
    """Views of single images by a torchvision transform.

    Args:
        images: what to read from.
        view: from a Pillow image to a float tensor (C, S, S).
    """

    def __init__(self, images: Images, view: Callable[[Any], Tensor]) -> None:
        self.pictures = [functional.to_pil_image(pixels) for pixels in images.pixels]
        self.view = view

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return self.view(self.pictures[index])


def views_of(settings: Any) -> tuple[Callable[[Any], Tensor], Callable[[Any], Tensor]]:
    """The original and the transformed view of `ViewSettings`, for one Pillow image, as the authors compose them."""
    size = settings.size
    cropped = _either(settings.central_share, transforms.CenterCrop(settings.crop), transforms.RandomCrop(settings.crop))
    original = transforms.Compose([cropped, transforms.Resize(size), transforms.ToTensor()])
    rotated = transforms.RandomApply([transforms.RandomRotation(settings.rotation)], p=settings.rotation_probability)
    crops = transforms.RandomChoice([transforms.RandomCrop(crop) for crop in settings.crops_transformed])
    jitter = transforms.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue)
    mirrored = [transforms.RandomHorizontalFlip(settings.flip_probability)] if settings.flip_probability else []
    turned = [rotated] if settings.rotation else []
    return original, transforms.Compose([*turned, crops, transforms.Resize(size), *mirrored, jitter, transforms.ToTensor()])


def _either(share: float, first: Any, second: Any) -> Any:
    """`first` with the probability `share`, else `second`."""
    return transforms.RandomChoice([first, second], p=[share, 1 - share])


def ours(method: IIC, images: Images) -> Iterator[None]:
    """A training step of the method at every `next`."""
    random = generator(method.device, 0, "per image")
    size = method.config.batch_pairs // method.config.repeats
    while True:
        for batch in images.batches(images.order("main", size, random)[:-1]):
            method.train_step(batch, "main", random)
            yield


def per_image(method: IIC, images: Images, workers: int, originals_again: bool = False) -> Iterator[None]:
    """The same step with views from loaders, at every `next`; `originals_again`: with the originals once for each repeat."""
    config = method.config
    views = views_of(config.views)
    size = config.batch_pairs // config.repeats
    options: dict[str, Any] = {"batch_size": size, "drop_last": True, "num_workers": workers}
    loaders = [DataLoader(OneByOne(images, view), **options) for view in [views[0]] + [views[1]] * config.repeats]
    while True:
        for originals, *copies in zip(*loaders, strict=True):
            shown = torch.cat([originals] * config.repeats) if originals_again else originals
            learn(method, shown.to(method.device), torch.cat(copies).to(method.device))
            yield


def learn(method: IIC, originals: Tensor, copies: Tensor) -> None:
    """One optimiser step on views (n, C, S, S) and (m, C, S, S) that are there already; m is a multiple of n."""
    method.network.train()
    loss = method.view_losses(originals, copies, "main")
    method.optimiser.zero_grad(set_to_none=True)
    loss.mean().backward()
    method.optimiser.step()


def race(contestants: dict[str, Iterator[None]], steps: int, turns: int, device: str, lead: int) -> dict[str, float]:
    """Median seconds of a step; each makes `lead` steps that do not count and `steps` that do in each of `turns` turns.

    The lead uses up what workers had prepared while others had their turn; so only what they do meanwhile counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(turns):
        for name, contestant in contestants.items():
            _timed(contestant, lead, device)
            seconds[name].append(_timed(contestant, steps, device) / steps)
    return {name: statistics.median(each) for name, each in seconds.items()}


def _timed(contestant: Iterator[None], steps: int, device: str) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        next(contestant)
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def compare(method: IIC, images: Images, workers: int, steps: int, turns: int) -> dict[str, float]:
    """Views a second, by contestant: an original and its `repeats` copies count once each; `method` is built anew."""
    method.build(images.shape)
    contestants = {"whole batches (ours)": ours(method, images)}
    for often, name in ((False, "image by image"), (True, AS_THE_AUTHORS)):
        contestants[f"{name}, no workers"] = per_image(method, images, 0, often)
        contestants[f"{name}, {workers} workers"] = per_image(method, images, workers, often)
    lead = max(2, workers * PREFETCHED)
    passed = method.config.batch_pairs // method.config.repeats * (1 + method.config.repeats)
    return {name: passed / seconds for name, seconds in race(contestants, steps, turns, method.device, lead).items()}


def main(arguments: list[str] | None = None) -> None:
    """Print images a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--preset", default="short")
    parser.add_argument("--data-root", type=Path, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=5, help="in a turn")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args(arguments)
    keep_freed_memory()
    threads = set_threads(given.threads)
    data = load(given.dataset, root=given.data_root).under("full")
    method = IIC(data.n_classes, device=given.device, **resolve("iic", given.dataset, given.preset).config)
    images = Images(data.train.pixels[: given.images]).to(given.device)
    print(f"iic on {given.dataset}, preset {given.preset}, {given.device}, {threads} threads, torch {torch.__version__}")
    rates = compare(method, images, given.workers, given.steps, given.turns)
    first = next(iter(rates.values()))
    for name, rate in rates.items():
        print(f"{name:<58} {rate:9,.0f} images/s   ours / this = {first / rate:.2f}")


if __name__ == "__main__":
    main()
