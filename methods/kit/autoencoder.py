"""The fully connected autoencoder of DEC and its training layer by layer (Xie, Girshick, Farhadi, ICML 2016, section 3.3).

Each layer is first trained as a denoising autoencoder of two layers on the clean codes of those below, which stay as they
are; then all layers are stacked and trained together without noise. Solver, schedule and noise are those of the authors'
released code (`dec/pretrain.py`). Left out, the layer-wise part costs some 20 points of accuracy on MNIST.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn

from .arithmetic import Arithmetic

BIAS_RATE = 2  # learning rate of the biases, as a multiple of the weights'
Share = Annotated[float, Field(ge=0, lt=1)]
Steps = Callable[[int, int], None]


class PretrainingSettings(BaseModel):
    """How the autoencoder is trained before there are clusters. Every layer, and then all together, has a solver of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer_iterations: PositiveInt = Field(default=2_000, description="steps of each layer's own denoising autoencoder")
    finetune_iterations: PositiveInt = Field(default=4_000, description="steps of the whole autoencoder after that, no noise")
    batch: PositiveInt = Field(default=256, description="images in a batch")
    optimiser: Literal["sgd", "adam"] = Field(default="adam", description="the authors' sgd, or adam, safe on images of any size")
    lr: PositiveFloat = Field(default=1e-3, description="learning rate; the biases have twice as much under sgd")
    lr_step: PositiveInt = Field(default=20_000, description="steps after each of which the learning rate falls to a tenth")
    momentum: Share = Field(default=0.9, description="momentum, sgd only")
    momentum_ramp: NonNegativeInt = Field(default=1_000, description="first steps over which the momentum grows from 0, sgd only")
    dropout: Share = Field(default=0.2, description="noise on input and code of each layer, but not on image and embedding")
    image_dropout: Share = Field(default=0.0, description="noise on the image: none in the authors' code, 0.2 in their text")
    initial_deviation: PositiveFloat = Field(default=0.05, description="standard deviation of the first weights")
    epoch_iterations: PositiveInt = Field(default=2_000, description="steps after which the state is scored and may be saved")


class Autoencoder(nn.Module):
    """Linear layers from D numbers to the embedding and back, ReLU after each but the embedding and the reconstruction.

    Args:
        sizes: numbers at the input, in the hidden layers and in the embedding, e.g. (784, 500, 500, 2000, 10).
        deviation: standard deviation of the first weights; the biases start at 0.
    """

    def __init__(self, sizes: Sequence[int], deviation: float = 0.01) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.decoder = nn.ModuleList(nn.Linear(after, before) for before, after in pairwise(sizes))  # [i] undoes encoder[i]
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.0, deviation) if parameter.ndim > 1 else nn.init.zeros_(parameter)

    def encode(self, inputs: torch.Tensor, layers: int | None = None) -> torch.Tensor:
        """Inputs (N, D) through the first `layers` of the encoder, all by default: (N, embedding)."""
        codes = inputs
        for number, layer in enumerate(self.encoder[:layers], start=1):
            codes = layer(codes) if number == len(self.encoder) else layer(codes).relu()
        return codes

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The reconstruction of inputs (N, D)."""
        codes = self.encode(inputs)
        for number in range(len(self.decoder) - 1, -1, -1):
            codes = self.decoder[number](codes) if number == 0 else self.decoder[number](codes).relu()
        return codes  # (N, D)

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        """What is trained of one layer, 0 for the first; of all of them if there is no such layer."""
        if layer == len(self.encoder):
            return list(self.parameters())
        return [*self.encoder[layer].parameters(), *self.decoder[layer].parameters()]


def reconstruction_loss(reconstruction: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Half the squared difference of (N, D) and (N, D), averaged over all N * D numbers.

    So does the Caffe that the authors released with their code (`caffe/src/caffe/layers/euclidean_loss_layer.cu`). The common
    Caffe averages over the N images alone; their learning rate of 0.1 makes that diverge within tens of steps.
    """
    return 0.5 * F.mse_loss(reconstruction.float(), inputs.float())


def layer_loss(
    autoencoder: Autoencoder,
    layer: int,
    inputs: torch.Tensor,
    settings: PretrainingSettings,
    random: torch.Generator,
) -> torch.Tensor:
    """Loss of one layer's denoising autoencoder; its gradient reaches that layer alone.

    Args:
        autoencoder: the layers below `layer` give the clean codes that it has to reconstruct.
        layer: 0 for the first.
        inputs: (N, D).
        settings: for the noise.
        random: generator of the noise, on the device of `inputs`.
    """
    with torch.no_grad():
        clean = autoencoder.encode(inputs, layer)  # (N, before)
    is_first, is_last = layer == 0, layer == len(autoencoder.encoder) - 1
    codes = autoencoder.encoder[layer](dropout(clean, settings.image_dropout if is_first else settings.dropout, random))
    codes = codes if is_last else dropout(codes.relu(), settings.dropout, random)  # (N, after)
    reconstruction = autoencoder.decoder[layer](codes)
    return reconstruction_loss(reconstruction if is_first else reconstruction.relu(), clean)


def dropout(values: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
    """`values` with a random `share` of them set to 0 and the others enlarged by 1 / (1 - share)."""
    if share == 0:
        return values
    return values * _kept(values, share, random).div_(1 - share)


def _kept(values: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
    """1 where a value stays and 0 where it does not, of the shape and type of `values`."""
    if values.device.type != "cpu":
        return torch.empty_like(values).bernoulli_(1 - share, generator=random)
    # The same draws as by bernoulli_, in three fifths of its time: a third of what DEC's step had beside its network.
    return torch.rand(values.shape, generator=random, dtype=torch.float64).lt_(1 - share).to(values.dtype)


def sgd(parameters: Iterable[nn.Parameter], lr: float, momentum: float) -> torch.optim.SGD:
    """Plain SGD with momentum, at twice the rate for biases (whatever has one dimension)."""
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for parameter in parameters:
        (weights if parameter.ndim > 1 else biases).append(parameter)
    groups = [{"params": weights, "lr": lr}, {"params": biases, "lr": BIAS_RATE * lr}]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum)


@dataclass(frozen=True)
class Part:
    """Some steps of the training of one layer, or of all layers together.

    Attributes:
        layer: 0 for the first; as many as there are layers for all together.
        first: steps of that layer that were made before.
        steps: how many these are.
    """

    layer: int
    first: int
    steps: int


def parts(settings: PretrainingSettings, layers: int) -> tuple[Part, ...]:
    """The training of an autoencoder of so many layers, in parts of `epoch_iterations` steps at most."""
    totals, size = [settings.layer_iterations] * layers + [settings.finetune_iterations], settings.epoch_iterations
    return tuple(
        Part(layer, first, min(size, total - first)) for layer, total in enumerate(totals) for first in range(0, total, size)
    )


class Pretraining:
    """Trains an autoencoder layer by layer, then as a whole, in parts that can be taken up again.

    Args:
        autoencoder: is changed in place.
        settings: see `PretrainingSettings`.
        arithmetic: of the layers; the losses are float32.

    Attributes:
        plan: the parts, in their order.
    """

    def __init__(self, autoencoder: Autoencoder, settings: PretrainingSettings, arithmetic: Arithmetic) -> None:
        self.autoencoder, self.settings, self.arithmetic = autoencoder, settings, arithmetic
        self.plan = parts(settings, len(autoencoder.encoder))
        self.optimiser: torch.optim.Optimizer | None = None

    def name(self, part: Part) -> str:
        """What the loss of a part is called: `layer 1` and so on, or `reconstruction`."""
        return "reconstruction" if part.layer == len(self.autoencoder.encoder) else f"layer {part.layer + 1}"

    def run(self, part: Part, batches: Iterable[torch.Tensor], random: torch.Generator, on_step: Steps) -> torch.Tensor:
        """Make the steps of one part.

        Args:
            part: of `plan`; the one before it was run, or its state loaded.
            batches: inputs (N, D), one batch for each step.
            random: generator of the noise.
            on_step: called after each step with how many of the part are done, and of how many.

        Returns:
            The mean loss, detached.
        """
        if self.optimiser is None or part.first == 0:
            self.optimiser = self._solver(part)
        optimiser = self.optimiser
        total = torch.zeros((), device=next(self.autoencoder.parameters()).device)
        for step, inputs in enumerate(batches):
            self._set_rates(optimiser, part.first + step)
            with self.arithmetic.autocast():
                loss = self._loss(part.layer, inputs, random)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach()
            on_step(step + 1, part.steps)
        return total / part.steps

    def decay(self, step: int) -> float:
        """Learning rate of a layer's step, 0 for the first, as a share of the first one."""
        return 0.1 ** (step // self.settings.lr_step)

    def momentum(self, step: int) -> float:
        """Momentum of a layer's step; that of step 0, which nothing precedes, is never applied."""
        return self.settings.momentum * min(1.0, max(step, 1) / max(self.settings.momentum_ramp, 1))

    def _loss(self, layer: int, inputs: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        if layer == len(self.autoencoder.encoder):
            return reconstruction_loss(self.autoencoder(inputs), inputs)
        return layer_loss(self.autoencoder, layer, inputs, self.settings, random)

    def _set_rates(self, optimiser: torch.optim.Optimizer, step: int) -> None:
        """What the schedule wants for a layer's step."""
        for group in optimiser.param_groups:
            group["lr"] = group["first_lr"] * self.decay(step)
            if "momentum" in group:
                group["momentum"] = self.momentum(step)

    def _solver(self, part: Part) -> torch.optim.Optimizer:
        """A fresh one for the part's layer."""
        settings, parameters = self.settings, self.autoencoder.layer_parameters(part.layer)
        adam = settings.optimiser == "adam"
        solver = torch.optim.Adam(parameters, settings.lr) if adam else sgd(parameters, settings.lr, settings.momentum)
        for group in solver.param_groups:
            group["first_lr"] = group["lr"]
        return solver

    def state_dict(self, parts_done: int) -> dict[str, Any]:
        """The solver's momentum, if the next part goes on with it; the weights are the autoencoder's own state."""
        goes_on = 0 < parts_done < len(self.plan) and self.plan[parts_done].first > 0
        return self.optimiser.state_dict() if goes_on and self.optimiser is not None else {}

    def load_state_dict(self, parts_done: int, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        if state:
            self.optimiser = self._solver(self.plan[parts_done])
            self.optimiser.load_state_dict(state)
