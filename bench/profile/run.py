"""From names to profiles."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ...datasets.base import TrialData
from ...methods.registry import methods
from ..devices import keep_freed_memory
from ..provenance import cpu_model
from ..randomness import seed_all
from ..snapshots import subset
from ..spec import SpecError, TrialSpec
from .ceilings import ceilings
from .measuring import measure
from .report import Profile, summarise
from .stopwatch import clock_for

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def profile_method(
    spec: TrialSpec,
    data: TrialData,
    *,
    device: str,
    steps: int,
    images: int | None = None,
    warm_up: int = 3,
    after_epoch: int = 0,
    trace: Path | None = None,
    flame: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Profile:
    """Measure `steps` training steps of a method.

    Args:
        spec: the method with its settings.
        data: what it trains on.
        device: `cpu` or `cuda:N`; on a CPU with the threads that torch has now.
        steps, warm_up, after_epoch, trace, flame, progress: see `measure`.
        images: train on so many of the images only (drawn at random, the same ones each time), so that epochs are short.

    Raises:
        SpecError: a data set of several parts cannot be cut down to some images.
        MethodError: see `measure`.
    """
    keep_freed_memory()  # as bench run does
    seed_all(spec.seed)
    method = methods.get(spec.method)(spec.n_clusters, seed=spec.seed, device=device, **spec.config)
    shown = data if images is None else _some(data, images)
    measured = measure(
        method,
        shown.to(device),
        steps=steps,
        warm_up=warm_up,
        after_epoch=after_epoch,
        trace=trace,
        flame=flame,
        progress=progress,
    )
    precision = str(spec.config.get("precision") or "float32")
    return summarise(
        measured,
        ceilings(device, DTYPES.get(precision, torch.float32)),
        method=spec.method,
        dataset=spec.dataset,
        preset=spec.preset,
        device=device,
        hardware=hardware(device),
        threads=torch.get_num_threads(),
        precision=precision,
        versions={"torch": torch.__version__},
        timed_by="processor time" if clock_for(device) is time.process_time else "wall clock",
    )


def _some(data: TrialData, count: int) -> TrialData:
    train = data.train
    if train.roles or train.masks is not None:
        raise SpecError(f"{data.name} trains on several parts of its images, which cannot be cut down: leave out --images.")
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:count].sort().values
    return replace(data, train=subset(train, chosen.numpy()))


def hardware(device: str) -> str:
    """The GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else cpu_model()
