"""A method for tests of many trials: it takes as long as it is told, and any lost or repeated epoch ends in other clusters."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from clusterbench.bench import checkpoint
from clusterbench.datasets.base import Images
from clusterbench.methods.base import Diverged, Epoch, Method, MethodConfig, State
from clusterbench.methods.registry import register

checkpoint.LARGEST_SHARE = math.inf  # saved after every epoch, so that a trial that is taken up again goes on with the next


class WalkingConfig(MethodConfig):
    """`fault` happens once, in the middle of epoch `fault_at`, as long as the file `fault_file` is not there.

    Seeds from `held_from` on wait in their second epoch until the file `held_until` is there: surely in the middle till then.
    """

    epochs: int = 4
    pause: float = 0.0
    fault: str = ""
    fault_at: int = 0
    fault_file: str = ""
    always: bool = False
    held_from: int = 0
    held_until: str = ""


@register("walking")
class Walking(Method):
    """Heads that walk at random."""

    name: ClassVar[str] = "walking"
    Config = WalkingConfig
    config: WalkingConfig

    def train(self, images: Images) -> Iterator[Epoch]:
        if not hasattr(self, "weights"):
            self.epoch, self.weights = 0, torch.randn(images.pixels[0].numel(), self.n_clusters)
        while self.epoch < self.config.epochs:
            time.sleep(self.config.pause)
            self.on_step(1, 2, len(images))
            self._break_down()
            while self.epoch == 1 and self._is_held():
                time.sleep(0.05)
            self.weights = self.weights + torch.randn_like(self.weights)
            self.epoch += 1
            yield Epoch(self.epoch, {"main": [1.0 / self.epoch]}, 1.0 / self.epoch, len(images))

    def _break_down(self) -> None:
        config, flag = self.config, Path(self.config.fault_file)
        if self.epoch + 1 != config.fault_at or (flag.exists() and not config.always):
            return
        flag.touch()
        if config.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        errors = {
            "memory": MemoryError("out of memory"), "diverged": Diverged("walking: the loss is not finite."),
        }  # fmt: skip
        raise errors.get(config.fault, RuntimeError("the device fell off"))

    def _is_held(self) -> bool:
        return bool(self.config.held_until) and self.seed >= self.config.held_from and not Path(self.config.held_until).exists()

    def predict_heads(self, images: Images) -> np.ndarray:
        return (images.pixels.flatten(1).float() @ self.weights).argmax(-1).numpy()[None]

    def state_dict(self) -> State:
        return {"model": {"weights": self.weights}, "epoch": self.epoch}

    def load_state_dict(self, state: State) -> None:
        self.weights, self.epoch = state["model"]["weights"], state["epoch"]
