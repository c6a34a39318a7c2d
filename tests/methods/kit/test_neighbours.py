"""The nearest neighbours of features, by either way, against scikit-learn's."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit import neighbours
from clusterbench.methods.kit.neighbours import nearest_neighbours


def unit_vectors(count: int, dimensions: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, dimensions, generator=random), dim=1)


@pytest.mark.parametrize("way", [nearest_neighbours, lambda features, count: neighbours._by_blocks(features, count + 1)])
def test_they_are_those_of_the_largest_cosines_in_order_with_the_image_itself_first(way, monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 1000)  # seven blocks
    features = unit_vectors(157, 12)
    found = way(features, 9)
    wanted = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(features.double()).kneighbors(features)[1]
    assert found.dtype == torch.int64 and torch.equal(found, torch.from_numpy(wanted))
    assert torch.equal(found[:, 0], torch.arange(157))


def test_more_neighbours_than_other_images_are_refused() -> None:
    features = unit_vectors(6, 3)
    assert nearest_neighbours(features, 5).shape == (6, 6)
    with pytest.raises(MethodError, match="6 neighbours were asked for among 6 images"):
        nearest_neighbours(features, 6)
