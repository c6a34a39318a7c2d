"""PCA-whitening against a float64 singular value decomposition, scikit-learn and faiss."""

import faiss
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.whitening import BLOCK, Whitening, moments, whitened


def correlated(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (
        random.normal(size=(rows, columns)) @ random.normal(size=(columns, columns)) + 5 * random.normal(size=columns)
    ).astype(np.float32)


def products(rows: np.ndarray) -> np.ndarray:
    """Inner products of the rows, which do not depend on the axes' signs."""
    return rows @ rows.T


def test_whitened_features_are_scikit_learns_up_to_signs() -> None:
    features = correlated(300, 12)
    ours = Whitening(5).fit(torch.from_numpy(features))(torch.from_numpy(features)).double().numpy()
    theirs = PCA(5, whiten=True, svd_solver="full").fit_transform(features.astype(np.float64))
    theirs *= np.sqrt(300 / 299)  # scikit-learn divides variances by N - 1
    np.testing.assert_allclose(products(ours), products(theirs), atol=2e-3)


def test_what_is_clustered_is_what_faiss_makes_of_the_features() -> None:
    features = correlated(400, 16)
    matrix = faiss.PCAMatrix(16, 6, -0.5)
    matrix.train(features)
    theirs = matrix.apply_py(features).astype(np.float64)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(products(whitened(torch.from_numpy(features), 6).double().numpy()), products(theirs), atol=2e-3)


def test_axes_have_unit_variance_and_no_correlation() -> None:
    features = torch.from_numpy(correlated(500, 10))
    found = Whitening(7).fit(features)(features).double()
    torch.testing.assert_close(found.mean(0), torch.zeros(7, dtype=torch.float64), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.T @ found / 500, torch.eye(7, dtype=torch.float64), atol=1e-3, rtol=0)


def test_what_is_clustered_has_unit_length() -> None:
    torch.testing.assert_close(whitened(torch.from_numpy(correlated(50, 8)), 4).norm(dim=1), torch.ones(50))


def test_moments_over_several_blocks_are_numpys() -> None:
    features = correlated(2 * BLOCK + 7, 3)
    mean, covariance = moments(torch.from_numpy(features))
    np.testing.assert_allclose(mean.numpy(), features.astype(np.float64).mean(0), rtol=1e-10)
    np.testing.assert_allclose(covariance.numpy(), np.cov(features.astype(np.float64).T, ddof=0), rtol=1e-10)


def test_features_of_low_rank_give_as_many_axes_as_their_rank_and_no_noise() -> None:
    low = torch.from_numpy(correlated(200, 5)) @ torch.from_numpy(correlated(5, 40, seed=1))
    assert whitened(low, 32).shape == (200, 5)
    assert whitened(low[:4], 32).shape == (4, 3)  # four points span three directions


def test_other_images_are_whitened_by_the_fitted_axes_also_after_a_resumption() -> None:
    features = torch.from_numpy(correlated(100, 6))
    fitted, restored = Whitening(3).fit(features[:80]), Whitening(3)
    restored.load_state_dict(fitted.state_dict())
    assert torch.equal(fitted(features)[80:], fitted(features[80:]))
    assert torch.equal(restored(features), fitted(features))


def test_collapsed_and_broken_features_are_refused() -> None:
    with pytest.raises(MethodError, match=r"All images have the same features \(collapse\)"):
        whitened(torch.ones(20, 4), 2)
    with pytest.raises(MethodError, match="The features are not finite"):
        whitened(torch.full((20, 4), torch.nan), 2)
