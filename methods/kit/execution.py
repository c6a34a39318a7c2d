"""How networks are executed, apart from what they compute: memory layout, fused optimisers, compilation, CUDA graphs.

These switches hold for a whole process (`use`) and change a result by rounding only, so they are no settings of a method and no
part of a trial's identity; its record's provenance names them. `Arithmetic` heeds them wherever a method runs a network by it.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from ..base import MethodError


@dataclass(frozen=True)
class Execution:
    """The switches of a process. The defaults are what pays on every device.

    Attributes:
        channels_last: images lie in memory pixel by pixel: twice as fast on CPUs, and what tensor cores want on GPUs.
        fused: optimisers step by one kernel: all that can, none, or (None) as each method chose.
        compile: networks are compiled by torch.compile at their first call.
        cuda_graphs: a compiled network's kernels are launched together, as a CUDA graph.
        backend: of the compilation; `eager` compiles nothing and is for tests.
    """

    channels_last: bool = True
    fused: bool | None = None
    compile: bool = False
    cuda_graphs: bool = False
    backend: str = "inductor"

    def as_dict(self) -> dict[str, Any]:
        """What a record says of it, as JSON values."""
        return asdict(self) if self.compile else {name: value for name, value in asdict(self).items() if name != "backend"}

    def check(self, device: str) -> None:
        """Raise `MethodError` for what `device` or this installation cannot do."""
        on_gpu = torch.device(device).type == "cuda"
        if self.cuda_graphs and not on_gpu:
            raise MethodError(f"CUDA graphs need a GPU, and the device is {device}: leave out --cuda-graphs.")
        if self.cuda_graphs and not self.compile:
            raise MethodError("CUDA graphs are made of compiled networks: give --compile too.")
        if self.compile and self.backend == "inductor" and (lack := _lack(on_gpu)):
            raise MethodError(f"torch.compile needs {lack}, which is not here: install it or leave out --compile.")


def _lack(on_gpu: bool) -> str | None:
    """What torch.compile would miss on this machine."""
    if on_gpu:
        return None if find_spec("triton") else "Triton"
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    return None if any(name and shutil.which(name) for name in compilers) else "a C++ compiler"


@dataclass
class _Process:
    """What holds for this process."""

    switches: Execution = field(default_factory=Execution)
    compiled: weakref.WeakSet[nn.Module] = field(default_factory=weakref.WeakSet)
    hook: RemovableHandle | None = None


_process = _Process()


def current() -> Execution:
    """The switches of this process."""
    return _process.switches


def use(execution: Execution) -> None:
    """Let everything that this process trains from now on follow `execution`. Networks that are compiled stay so."""
    if _process.hook is not None:
        _process.hook.remove()
    _process.switches = execution
    _process.hook = register_optimizer_step_pre_hook(_switch_fused) if execution.fused is not None else None


@contextmanager
def using(execution: Execution) -> Iterator[None]:
    """`use` inside, and as before afterwards."""
    before = current()
    use(execution)
    try:
        yield
    finally:
        use(before)


def runner(network: Any) -> Callable[..., Any]:
    """What to call in place of `network`: itself, which is told to compile itself first where that is switched on.

    Functions and methods are called as they are. A batch may have any number of images; the first two sizes compile.
    """
    if not current().compile or not isinstance(network, nn.Module):
        return network
    if network not in _process.compiled:
        mode = {"mode": "reduce-overhead"} if current().cuda_graphs else {}
        network.compile(backend=current().backend, **mode)
        _process.compiled.add(network)
    return network


def kept(output: torch.Tensor) -> torch.Tensor:
    """`output` of a network where the next call cannot overwrite it, as a CUDA graph does with its own memory."""
    return output.clone() if current().cuda_graphs else output


def _switch_fused(optimiser: Optimizer, arguments: Any, named: Any) -> None:
    """Before a step: fused or not, as the process wants; the count of steps lies where that kind of step looks for it."""
    fused = bool(current().fused)
    for group in optimiser.param_groups:
        if "fused" not in group or bool(group["fused"]) == fused:
            continue
        group["fused"] = fused
        group["foreach"] = False if fused else None
        for parameter in group["params"]:
            count = optimiser.state[parameter].get("step") if parameter in optimiser.state else None
            if isinstance(count, torch.Tensor):
                optimiser.state[parameter]["step"] = count.to(parameter.device if fused else "cpu")
