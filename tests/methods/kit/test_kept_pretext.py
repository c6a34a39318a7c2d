"""The contrastive network in the store: taken where the recipe is the same, made anew where anything differs."""

from pathlib import Path

import pytest
import torch

from clusterbench.datasets.base import Images
from clusterbench.methods.kit.arithmetic import Arithmetic
from clusterbench.methods.kit.artefacts import Artefacts
from clusterbench.methods.kit.backbone_weights import WeightsFile
from clusterbench.methods.kit.backbones import BackboneSettings
from clusterbench.methods.kit.contrastive_views import SimCLRViewSettings
from clusterbench.methods.kit.kept_pretext import KeptPretext
from clusterbench.methods.kit.simclr import Pretext, PretextSettings


def images(seed: int = 0, **roles: torch.Tensor) -> Images:
    random = torch.Generator().manual_seed(seed)
    return Images(torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8, generator=random), roles)


def kept(
    root: Path | None, trial_seed: int = 0, weights: WeightsFile | None = None, size: int = 8, batch: int = 12, **settings
) -> KeptPretext:
    how = PretextSettings(**{"epochs": 1, "batch": batch, "lr": 0.1, "dimensions": 8, **settings})
    network, views = BackboneSettings(name="small", widths=(4, 8)), SimCLRViewSettings(size=size)
    pretext = Pretext(how, network, views, (1, 8, 8), trial_seed, Arithmetic("cpu"))
    return KeptPretext(pretext, None if root is None else Artefacts(root), role="auxiliary", weights=weights, batch=7)


def obtained(each: KeptPretext, given: Images) -> bool:
    """Train it unless it is found; whether it was."""
    with each.claimed(given) as found:
        if not found:
            each.pretext.train_epoch(given, given.role("auxiliary"), lambda *_: None)
            each.keep(given)
    return found


def test_the_next_trial_takes_what_the_first_has_made_whatever_its_seed(tmp_path: Path) -> None:
    first, second = kept(tmp_path, 1), kept(tmp_path, 2)
    assert not obtained(first, images()) and obtained(second, images())
    states = [each.pretext.network.state_dict() for each in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_other_images_roles_settings_or_seeds_make_another_network(tmp_path: Path) -> None:
    assert not obtained(kept(tmp_path), images())
    assert not obtained(kept(tmp_path), images(seed=1))
    assert not obtained(kept(tmp_path), images(auxiliary=torch.arange(20)))
    assert not obtained(kept(tmp_path, temperature=0.2), images())
    assert not obtained(kept(tmp_path, seed=3), images())
    assert not obtained(kept(tmp_path, 1, seed=None), images()) and not obtained(kept(tmp_path, 2, seed=None), images())
    assert obtained(kept(tmp_path), images())


def test_without_a_store_nothing_is_taken_or_kept(tmp_path: Path) -> None:
    assert not obtained(kept(None), images()) and not obtained(kept(None), images())


def test_neighbours_are_those_of_the_role_and_need_the_network_once(tmp_path: Path) -> None:
    given = images(main=torch.tensor([3, 5, 8, 13, 21]))
    first, second = kept(tmp_path), kept(tmp_path, 2)
    obtained(first, given), obtained(second, given)
    found, passed = first.neighbours(given, "main", 2, "projection")
    again, passed_again = second.neighbours(given, "main", 2, "projection")
    features = first.pretext.features(given, given.role("main"), "projection", 24)
    assert torch.equal(found, (features @ features.T).topk(3).indices) and torch.equal(again, found)
    assert (passed, passed_again) == (5, 0)
    assert first.neighbours(given, "main", 3, "projection")[1] == 0, "more neighbours come from the same features"
    assert first.neighbours(given, "main", 2, "backbone")[1] == 5, "another layer has others"


@pytest.mark.parametrize("other", [{"weights": WeightsFile(path="b", sha256="2" * 64)}, {"size": 12}])
def test_neighbours_by_somebodys_weights_are_known_by_the_files_content_and_the_view(other: dict, tmp_path: Path) -> None:
    weights = {"weights": WeightsFile(path="a", sha256="1" * 64)}
    moved = {"weights": WeightsFile(path="elsewhere", sha256="1" * 64)}
    given = images()
    assert kept(tmp_path, **weights).neighbours(given, "main", 2, "backbone")[1] == 24
    assert kept(tmp_path, **moved, batch=8).neighbours(given, "main", 2, "backbone")[1] == 0
    assert kept(tmp_path, **{**weights, **other}).neighbours(given, "main", 2, "backbone")[1] == 24
