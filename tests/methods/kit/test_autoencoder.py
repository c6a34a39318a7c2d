"""The autoencoder of DEC and its solver, against numpy."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch

from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.autoencoder import (
    Autoencoder,
    Part,
    Pretraining,
    PretrainingSettings,
    dropout,
    layer_loss,
    parts,
    reconstruction_loss,
)

SIZES = (6, 5, 4, 3)
SETTINGS = PretrainingSettings(optimiser="sgd", layer_iterations=7, finetune_iterations=9, batch=4, lr=0.05, lr_step=5,
                              momentum_ramp=4,  initial_deviation=0.3, epoch_iterations=3)  # fmt: skip


def autoencoder(sizes: tuple[int, ...] = SIZES, deviation: float = 0.3) -> Autoencoder:
    torch.manual_seed(0)
    made = Autoencoder(sizes, deviation).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)  # biases too
    return made


def inputs(count: int = 4, size: int = 6) -> torch.Tensor:
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def linear(layer: torch.nn.Module, values: np.ndarray) -> np.ndarray:
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    return values @ weight.T + bias


def relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def test_the_layers_are_the_papers_and_start_small() -> None:
    made = Autoencoder((784, 500, 500, 2000, 10))
    weights = [tuple(layer.weight.shape) for layer in (*made.encoder, *made.decoder)]  # pyright: ignore[reportAttributeAccessIssue]
    sizes = [*pairwise((784, 500, 500, 2000, 10))]
    assert weights == [(after, before) for before, after in sizes] + [(before, after) for before, after in sizes]
    for parameter in made.parameters():
        if parameter.ndim == 1:
            assert (parameter == 0).all()
        else:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.05) and abs(parameter.mean().item()) < 1e-3


def test_relu_follows_every_layer_but_embedding_and_reconstruction() -> None:
    made, x = autoencoder(), inputs()
    e, d = made.encoder, made.decoder
    code = linear(e[2], relu(linear(e[1], relu(linear(e[0], x.numpy())))))
    np.testing.assert_allclose(made.encode(x).detach(), code)
    back = linear(d[0], relu(linear(d[1], relu(linear(d[2], code)))))
    np.testing.assert_allclose(made(x).detach(), back)
    assert (code < 0).any() and (back < 0).any()


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_each_layer_reconstructs_the_clean_codes_below_it(layer: int) -> None:
    made, x = autoencoder(), inputs()
    below = x.numpy()
    for number in range(layer):
        below = relu(linear(made.encoder[number], below))
    code = linear(made.encoder[layer], below)
    back = linear(made.decoder[layer], code if layer == 2 else relu(code))
    wanted = ((back if layer == 0 else relu(back)) - below) ** 2
    found = layer_loss(made, layer, x, SETTINGS.model_copy(update={"dropout": 0.0}), torch.Generator())
    assert found.item() == pytest.approx(0.5 * wanted.mean(), rel=1e-6)
    found.backward()
    trained = {id(parameter) for parameter in made.layer_parameters(layer)}
    assert all((parameter.grad is not None) == (id(parameter) in trained) for parameter in made.parameters())


@pytest.mark.parametrize(("layer", "shares"), [(0, [0.0, 0.3]), (1, [0.3, 0.3]), (2, [0.3])])
def test_noise_spares_the_image_and_the_embedding(layer: int, shares: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def noted(values: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
        asked.append(share)
        return values

    monkeypatch.setattr("clusterbench.methods.kit.autoencoder.dropout", noted)
    layer_loss(autoencoder(), layer, inputs(), SETTINGS.model_copy(update={"dropout": 0.3}), torch.Generator())
    assert asked == shares
    asked.clear()
    layer_loss(autoencoder(), 0, inputs(), SETTINGS.model_copy(update={"image_dropout": 0.4}), torch.Generator())
    assert asked == [0.4, 0.2], "the authors' text corrupts the image too"


def test_dropout_keeps_the_mean_and_draws_for_every_number() -> None:
    values = torch.ones(400, 500)
    found = dropout(values, 0.2, torch.Generator().manual_seed(0))
    assert set(found.unique().tolist()) == {0.0, 1.25}
    assert (found == 0).float().mean().item() == pytest.approx(0.2, abs=0.005)
    assert dropout(values, 0.0, torch.Generator()) is values


def test_the_loss_is_half_the_squared_error_of_a_number_as_in_the_authors_own_caffe() -> None:
    a, b = inputs(), inputs().flip(0)
    wanted = sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / (2 * a.numel())
    assert reconstruction_loss(a, b).item() == pytest.approx(wanted, rel=1e-6)


def test_gradients_of_the_losses_agree_with_finite_differences() -> None:
    made, x = autoencoder(), inputs()

    def loss(weight: torch.Tensor) -> torch.Tensor:
        codes = torch.nn.functional.linear(x, weight, made.encoder[0].bias).relu()  # pyright: ignore[reportArgumentType]
        return reconstruction_loss(torch.nn.functional.linear(codes, weight.T).double(), x).double()

    weight = made.encoder[0].weight.detach().clone().requires_grad_()  # pyright: ignore[reportCallIssue]
    assert torch.autograd.gradcheck(loss, (weight,), eps=1e-3, atol=1e-2, rtol=1e-2)  # the loss itself is float32


def test_the_solver_is_caffes_with_its_ramp_and_twice_the_rate_for_biases() -> None:
    """v = m v + rate lr g, w = w - v, where m grows from 0 over the first steps; no fall of the rate within."""
    settings = SETTINGS.model_copy(update={"lr_step": 100})
    made, twin = autoencoder(), autoencoder()
    training = Pretraining(made, settings, Arithmetic("cpu"))
    batches = [inputs().roll(step, 1) for step in range(9)]
    training.run(Part(3, 0, 9), batches, torch.Generator(), lambda done, total: None)
    memory = [np.zeros(parameter.shape) for parameter in twin.parameters()]
    for step, batch in enumerate(batches):
        twin.zero_grad()
        reconstruction_loss(twin(batch), batch).backward()
        for parameter, velocity in zip(twin.parameters(), memory, strict=True):
            assert parameter.grad is not None
            rate = 0.05 * (2 if parameter.ndim == 1 else 1)
            velocity[...] = 0.9 * min(1, step / 4) * velocity + rate * parameter.grad.numpy()
            parameter.data -= torch.from_numpy(velocity)
    for found, wanted in zip(made.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_learning_rate_falls_to_a_tenth_again_and_again() -> None:
    training = Pretraining(Autoencoder((784, 500, 500, 2000, 10)), PretrainingSettings(lr=0.1, lr_step=20_000), Arithmetic("cpu"))
    assert [training.decay(step) for step in (0, 19_999, 20_000, 59_999)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [training.momentum(step) for step in (1, 500, 1000, 5000)] == pytest.approx([0.0009, 0.45, 0.9, 0.9])


def test_the_parts_cover_each_layer_and_then_all_of_them() -> None:
    found = parts(SETTINGS, 3)
    assert found[:4] == (Part(0, 0, 3), Part(0, 3, 3), Part(0, 6, 1), Part(1, 0, 3))
    assert [sum(part.steps for part in found if part.layer == layer) for layer in range(5)] == [7, 7, 7, 9, 0]


def trained(optimiser: str, cut: int | None) -> Autoencoder:
    """The autoencoder after all parts, saved to disk and taken up again after `cut` of them."""
    settings = SETTINGS.model_copy(update={"optimiser": optimiser})
    made = autoencoder().float()
    training = Pretraining(made, settings, Arithmetic("cpu"))
    for done, part in enumerate(training.plan):
        if done == cut:
            stored = io.BytesIO()
            torch.save((made.state_dict(), training.state_dict(done)), stored)
            weights, state = torch.load(io.BytesIO(stored.getvalue()), weights_only=True)
            made = Autoencoder(SIZES)
            made.load_state_dict(weights)
            training = Pretraining(made, settings, Arithmetic("cpu"))
            training.load_state_dict(done, state)
        batches = [inputs().float() for _ in range(part.steps)]
        training.run(part, batches, torch.Generator().manual_seed(done), lambda done, total: None)
    return made


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_training_goes_on_from_any_part_as_if_nothing_had_happened(optimiser: str) -> None:
    whole = trained(optimiser, None)
    for cut in (1, 3, 10):
        for found, wanted in zip(trained(optimiser, cut).parameters(), whole.parameters(), strict=True):
            assert torch.equal(found, wanted)


def test_training_by_layers_and_as_a_whole_reconstructs_what_has_a_few_dimensions() -> None:
    random = torch.Generator().manual_seed(0)
    data = (torch.rand(256, 2, generator=random) @ torch.rand(2, 12, generator=random)).double().float()
    made = Autoencoder((12, 16, 16, 2), 0.1)
    settings = PretrainingSettings(
        optimiser="sgd", layer_iterations=150, finetune_iterations=300, lr=0.24, lr_step=1000, momentum_ramp=10, dropout=0.1
    )
    training = Pretraining(made, settings, Arithmetic("cpu"))
    steps: list[tuple[int, int]] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for part in training.plan:
            training.run(part, [data] * part.steps, random, lambda done, total: steps.append((done, total)))
    spread = 0.5 * ((data - data.mean(0)) ** 2).mean()
    assert reconstruction_loss(made(data), data) < 0.2 * spread
    assert steps[-1] == (300, 300) and len(steps) == 750


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_is_what_bernoulli_draws(dtype: torch.dtype) -> None:
    values, (one, other) = torch.rand(40, 30).to(dtype) + 1, (torch.Generator().manual_seed(3) for _ in range(2))
    kept = torch.empty_like(values).bernoulli_(0.7, generator=other)
    assert torch.equal(dropout(values, 0.3, one), values * kept.div_(0.7))
    assert torch.equal(one.get_state(), other.get_state())
