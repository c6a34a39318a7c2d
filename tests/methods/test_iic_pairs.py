"""IIC on pairs that are not made of images: real measurements, given partners, and the same training loop."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import StandardScaler

from clusterbench.methods.base import MethodError
from clusterbench.methods.iic import IIC
from clusterbench.methods.kit.pairs import Pairs
from clusterbench.methods.kit.randomness import generator
from clusterbench.results.metrics import confusion, scores

FLAT = {"network": "mlp", "widths": (16,), "sub_heads": 2, "batch_pairs": 60, "repeats": 3, "epochs": 2}


def noisy(samples: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    return samples + 0.3 * torch.randn(samples.shape, generator=random)


def two_clouds(count: int = 120) -> np.ndarray:
    return np.concatenate([np.random.default_rng(0).normal(middle, 0.5, (count // 2, 6)) for middle in (-2, 2)])


def hidden_measurements(samples: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Standardised measurements with noise as large as their spread, of which seven in ten are missing."""
    noise = torch.randn(samples.shape, generator=random)
    seen = torch.rand(samples.shape, generator=random) < 0.3
    return (samples + noise) * seen


def accuracy(predicted: np.ndarray, truth: np.ndarray) -> float:
    return scores(confusion(predicted, truth, 2, 2))["acc"]


def test_pairs_of_noisy_measurements_of_tumours_beat_k_means_on_them() -> None:
    data = load_breast_cancer()
    samples = StandardScaler().fit_transform(data.data)  # (569, 30)
    settings = {"network": "mlp", "widths": (64,), "batch_pairs": 320, "repeats": 5, "lr": 2e-3, "epochs": 40}
    ours, theirs = [], []
    for seed in range(3):
        method = IIC(2, seed=seed, **settings).fit_pairs(samples, hidden_measurements)
        ours.append(accuracy(method.labels_, data.target))
        kmeans = KMeans(2, n_init=10, random_state=seed).fit_predict(samples)
        theirs.append(accuracy(kmeans, data.target))
    assert min(ours) > max(theirs) > 0.9, (ours, theirs)


def test_given_partners_and_a_function_that_returns_them_train_alike() -> None:
    samples = two_clouds()
    partners = np.stack([samples + 0.1, samples - 0.1, samples * 1.1], axis=1)  # (N, 3, 6)
    row = {tuple(np.float32(sample)): number for number, sample in enumerate(samples)}

    def looked_up(asked: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        numbers = torch.tensor([row[tuple(sample.numpy())] for sample in asked]).view(3, -1)
        drawn = torch.rand(numbers.shape[1], 3, generator=random).argsort(1).T  # (3, n)
        return torch.as_tensor(partners, dtype=torch.float32)[numbers, drawn].flatten(0, 1)

    given = IIC(2, **FLAT).fit_pairs(samples, partners)
    made = IIC(2, **FLAT).fit_pairs(samples, looked_up)
    np.testing.assert_array_equal(given.predict_proba(samples), made.predict_proba(samples))


def test_training_on_pairs_goes_on_after_a_saved_state_as_if_undisturbed() -> None:
    samples = two_clouds()
    pairs = Pairs.of(samples, noisy)
    undisturbed = IIC(2, **FLAT, seed=3)
    *_, last = undisturbed.train(pairs)
    first, second = IIC(2, **FLAT, seed=3), IIC(2, **FLAT, seed=3)
    next(first.train(pairs))
    second.load_state_dict(first.state_dict())
    (resumed,) = second.train(pairs)
    assert (resumed.number, resumed.losses) == (last.number, last.losses)
    np.testing.assert_array_equal(second.predict(samples), undisturbed.predict(samples))


def test_a_saved_state_predicts_without_the_pairs() -> None:
    samples = two_clouds()
    trained = IIC(2, **FLAT).fit_pairs(samples, noisy)
    loaded = IIC(2, **FLAT)
    loaded.load_state_dict(trained.state_dict())
    np.testing.assert_array_equal(loaded.predict(samples), trained.labels_)
    assert accuracy(trained.labels_, np.arange(120) // 60) == 1.0


def test_square_samples_train_the_networks_with_convolutions() -> None:
    spectra = np.random.default_rng(1).random((40, 2, 12, 12))
    settings = {**FLAT, "network": "small", "widths": (4, 8), "passes": ["auxiliary", "main"], "auxiliary_clusters": 6}
    method = IIC(3, **settings).fit_pairs(spectra, np.stack([spectra] * 3, axis=1))
    assert method.labels_.shape == (40,) and method.predict_proba(spectra[:4]).shape == (4, 3)


def test_a_batch_is_never_a_lone_sample() -> None:
    method = IIC(2, **FLAT)  # 20 samples a batch
    sizes = [len(part) for part in method._order(Pairs.of(np.zeros((41, 6))), "main", generator("cpu", 0))]
    assert sizes == [20, 21]


def test_the_mlp_clusters_images_too() -> None:
    images = (load_digits().images[:100] * 255 / 16).round().astype(np.uint8)
    views = {"size": 8, "crop": 8, "crops_transformed": [7, 8]}
    assert IIC(10, **{**FLAT, "epochs": 1}, views=views).fit(images).labels_.shape == (100,)


def test_flat_samples_are_refused_by_the_networks_with_convolutions() -> None:
    with pytest.raises(MethodError, match="samples of 6 numbers need network='mlp', not 'small'"):
        IIC(2, **{**FLAT, "network": "small"}).fit_pairs(two_clouds(), noisy)


def test_samples_of_another_shape_than_the_trained_ones_are_refused() -> None:
    method = IIC(2, **FLAT).fit_pairs(two_clouds(), noisy)
    with pytest.raises(MethodError, match=r"Samples of shape \(5,\), where \(6,\) were trained on"):
        method.predict(np.zeros((3, 5)))
