import pytest
import torch

from clusterbench.methods.base import MethodError
from clusterbench.methods.denoising_ae import DenoisingAutoencoder, corrupted


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_masking_sets_a_share_of_the_values_to_0_and_leaves_the_others() -> None:
    images = torch.rand(50, 3, 20, 20, generator=stream()) + 0.1
    noisy = corrupted(images, "masking", 0.2, stream())
    masked = noisy == 0
    assert torch.equal(noisy[~masked], images[~masked])
    assert masked.float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert len({tuple(pattern.flatten().tolist()) for pattern in masked}) == 50, "every image has a pattern of its own"
    assert 0.03 < (masked[:, 0] & masked[:, 1]).float().mean() < 0.05, "and every channel"


def test_gaussian_noise_has_its_deviation_and_no_mean() -> None:
    images = torch.rand(50, 3, 20, 20, generator=stream())
    noise = corrupted(images, "gaussian", 0.3, torch.Generator().manual_seed(1)) - images
    assert noise.std().item() == pytest.approx(0.3, rel=0.02) and abs(noise.mean().item()) < 0.01


def test_what_has_to_come_back_is_the_clean_image() -> None:
    method = DenoisingAutoencoder(3, network={"widths": [4], "batch_norm": False}, amount=0.5)
    method.build_for((1, 8, 8))
    images = torch.rand(9, 1, 8, 8, generator=stream())
    noisy = corrupted(images, "masking", 0.5, stream())
    back = method.network(noisy)
    wanted = 0.5 * (back - images).square().flatten(1).sum(1).mean()
    assert method.losses(images, stream())["loss"].item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("wrong", [{"amount": 0}, {"amount": 1.0}, {"noise": "salt"}])
def test_settings_that_cannot_work_are_refused(wrong: dict) -> None:
    with pytest.raises(MethodError, match=next(iter(wrong))):
        DenoisingAutoencoder(3, **wrong)


def test_gaussian_noise_may_have_a_deviation_above_1() -> None:
    assert DenoisingAutoencoder(3, noise="gaussian", amount=1.5).config.amount == 1.5
