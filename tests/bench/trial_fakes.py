"""A method that learns nothing but shows every slip of the trial around it, and tiny data for it.

Run as a script it is the victim of the kill tests: `python trial_fakes.py random|every OUT`.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch

from clusterbench.bench import checkpoint, trial
from clusterbench.bench.spec import TrialSpec
from clusterbench.datasets.base import Images, TrialData
from clusterbench.datasets.splits import Dataset, Split
from clusterbench.methods.base import Diverged, Epoch, Method, MethodConfig, State
from clusterbench.methods.registry import methods
from clusterbench.results.record import Record

HEADS = 3
KILLED = -signal.SIGKILL


class DriftConfig(MethodConfig):
    """`fault` happens in the middle of epoch `fault_at`, the first time it is reached in this process."""

    epochs: int = 6
    judges: bool = True
    pause: float = 0.0
    fault: str = ""
    fault_at: int = 0


class Drift(Method):
    """Linear heads that walk at random, with steps from all three global generators.

    So a lost or repeated step, a generator that was not restored, or a checkpoint of the wrong epoch ends in other clusters.
    """

    name: ClassVar[str] = "drift"
    version: ClassVar[int] = 3
    Config = DriftConfig
    config: DriftConfig
    clock: ClassVar[list[float]] = [0.0]  # advanced by `pause` instead of sleeping, for tests of the time limit
    faults_left: ClassVar[int] = 1

    def train(self, images: Images) -> Iterator[Epoch]:
        if not hasattr(self, "weights"):
            self.epoch, self.weights = 0, torch.randn(HEADS, images.pixels[0].numel(), self.n_clusters)
        while self.epoch < self.config.epochs:
            self._wait()
            self.on_step(1, 2, len(images))
            self.weights = self.weights + torch.randn_like(self.weights) + random.random() * np.random.rand()  # noqa: NPY002
            self._break_down(self.epoch + 1)
            self.epoch += 1
            judgement = math.cos(2.0 * self.epoch) if self.config.judges else None
            yield Epoch(self.epoch, {"main": [0.5, 0.25], "total": float(self.epoch)}, judgement, len(images))

    def _wait(self) -> None:
        self.clock[0] += self.config.pause

    def _break_down(self, epoch: int) -> None:
        if epoch != self.config.fault_at or not type(self).faults_left:
            return
        type(self).faults_left -= 1
        raise {"diverged": Diverged("drift: the loss is not finite."), "ctrl-c": KeyboardInterrupt()}.get(
            self.config.fault, RuntimeError("the device fell off")
        )

    def predict_heads(self, images: Images) -> np.ndarray:
        pixels = images.pixels.flatten(1).float() - 127.5  # (N, D)
        return torch.einsum("nd,hdk->hnk", pixels, self.weights).argmax(-1).numpy()

    @property
    def chosen_head(self) -> int:
        return self.epoch % HEADS

    def state_dict(self) -> State:
        return {"model": {"heads": {"weight": self.weights}}, "epoch": self.epoch}

    def load_state_dict(self, state: State) -> None:
        self.weights, self.epoch = state["model"]["heads"]["weight"], state["epoch"]


class Sleeping(Drift):
    """Takes real time, to be killed in."""

    def _wait(self) -> None:
        time.sleep(self.config.pause)


@contextmanager
def registered(method: type[Method]) -> Iterator[None]:
    """`method` stands in the registry inside, and leaves no trace."""
    methods.register(method.name)(method)
    try:
        yield
    finally:
        del methods._loaded[method.name]


def tiny_data(n: int = 60, labelled: bool = True) -> TrialData:
    """`n` noise images of 4x4 pixels in three classes."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3 if labelled else np.full(n, -1)
    images = generator.integers(0, 256, (n, 1, 4, 4)).astype(np.uint8)
    classes = ("a", "b", "c") if labelled else ()
    return Dataset("tiny", {"all": Split(images, labels.astype(np.int64))}, classes).under("full")


def two_parts(n_train: int = 40, n_test: int = 30) -> Dataset:
    """Noise images of 4x4 pixels in three classes by brightness, in the splits train and test."""
    generator = np.random.default_rng(0)

    def part(n: int) -> Split:
        labels = generator.integers(0, 3, n)
        images = generator.integers(0, 120, (n, 1, 4, 4)) + 60 * labels[:, None, None, None]
        return Split(images.astype(np.uint8), labels.astype(np.int64))

    return Dataset("parts", {"train": part(n_train), "test": part(n_test)}, ("a", "b", "c"))


def drift_spec(data: TrialData, **settings: Any) -> TrialSpec:
    """The trial of `drift` on `data` with three clusters; `time_limit_s` and `preset` are the spec's, the rest settings."""
    about = {name: settings.pop(name) for name in ("time_limit_s", "preset") if name in settings}
    known = {"method": "drift", "method_version": 3, "task": "clustering", "dataset": data.name, "protocol": data.protocol}
    config = DriftConfig(**settings).model_dump()
    return TrialSpec(
        **{"preset": "smoke", **known, **about}, data_fingerprint=data.fingerprint, seed=6, n_clusters=3, config=config
    )


def run(spec: TrialSpec, data: TrialData, out: Path, **options: Any) -> Record:
    return trial.run_trial(spec, data, out=out, device="cpu", **options)


def outcome(record: Record) -> tuple[dict[str, Any], dict[str, bytes], list[dict[str, Any]]]:
    """What must not depend on how often a trial was stopped: metrics, labels, and the epochs without their seconds."""
    labels = {name: array.tobytes() + array.dtype.str.encode() for name, array in record.labels().items()}
    epochs = [{name: value for name, value in row.items() if "second" not in name} for row in record.epochs()]
    return record.metrics, labels, epochs


def in_child(work: Callable[[], object], kill_after: float | None = None) -> int:
    """Run `work` in a forked child, killed with SIGKILL after `kill_after` seconds; how it ended, as a process does."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at_random(out: Path) -> int:
    """Kill one trial over and over until it has ended by itself; how many kills hit it."""
    data, moments = tiny_data(), random.Random(0)
    spec = drift_spec(data, epochs=30, pause=0.02)
    hits = 0
    while in_child(lambda: run(spec, data, out), kill_after=moments.uniform(0.05, 0.4)) == KILLED:
        hits += 1
    return hits


def killed_at_every_write(out: Path) -> int:
    """For each n: a trial that dies at its n-th operation on the disk, then runs again to the end; how many of them died."""
    data = tiny_data()
    spec = drift_spec(data, epochs=3)
    for n in range(1_000):
        if in_child(lambda n=n: die_at(n, lambda: run(spec, data, out / f"{n:03d}"))) != KILLED:
            return n
        in_child(lambda n=n: run(spec, data, out / f"{n:03d}"))
    raise AssertionError("a trial has no thousand operations on the disk")


def die_at(n: int, work: Callable[[], object]) -> None:
    """Run `work` with the calls that change the disk counted; at the n-th, a SIGKILL instead of the call."""
    left = [n]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*arguments, **options)

        return instead

    for name in ("replace", "fsync", "unlink", "truncate", "ftruncate", "write", "mkdir", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]
    work()


def main() -> None:
    torch.set_num_threads(1)
    checkpoint.LARGEST_SHARE = math.inf  # save after every epoch, however short
    os.fsync = lambda descriptor: None  # the machine stays up, and a busy disk would make this test last minutes
    kind, out = sys.argv[1], Path(sys.argv[2])
    victim = {"random": Sleeping, "every": Drift}[kind]
    with registered(victim):
        with TemporaryDirectory() as elsewhere:  # what is imported and remembered in a first run, no child has to do again
            run(drift_spec(tiny_data(), epochs=1), tiny_data(), Path(elsewhere))
        print({"random": killed_at_random, "every": killed_at_every_write}[kind](out))


if __name__ == "__main__":
    main()
