import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.swwae import SWWAE

SMALL = {"widths": [[4], [6, 8]], "pools": [2, 2]}


def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("code", "stages"), [(None, ["stage 1"]), (5, ["stage 1", "stage 2"])])
def test_image_and_pooled_maps_are_weighed_and_all_have_a_floor(code: int | None, stages: list[str]) -> None:
    method = SWWAE(3, code=code, hidden_weight=0.25, **SMALL)
    method.build_for((1, 8, 8))
    losses = method.train_step(pixels(), torch.Generator())
    assert list(losses) == ["loss", "reconstruction", *stages]
    wanted = losses["reconstruction"] + 0.25 * sum(losses[name] for name in stages)
    assert losses["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert method.loss_floors.keys() == {*losses, "criterion"}


@pytest.mark.parametrize(("code", "size"), [(None, 8 * 2 * 2), (5, 5)])
def test_what_is_on_top_is_clustered(code: int | None, size: int) -> None:
    method = SWWAE(3, code=code, **SMALL)
    method.build_for((1, 8, 8))
    assert method.features(pixels()).shape == (6, size)


@pytest.mark.parametrize("wrong", [{"pools": [1, 2]}, {"widths": [[], [4]]}, {"hidden_weight": -1}, {"code": 0}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(MethodError, match=next(iter(wrong))):
        SWWAE(3, **wrong)
