"""Networks by name, and other people's weights in them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from torchvision.models import mobilenet_v3_small

from clusterbench.methods.base import MethodError
from clusterbench.methods.kit.backbone_weights import GivenWeights, load_backbone
from clusterbench.methods.kit.backbones import BackboneSettings, build_backbone

IMAGENET18 = BackboneSettings(name="resnet18", stem="imagenet")


class Holder(BaseModel):
    weights: GivenWeights


def given(path: Path) -> GivenWeights:
    return Holder(weights=path).weights  # pyright: ignore[reportArgumentType]


def resnet(seed: int = 0, settings: BackboneSettings = IMAGENET18) -> torch.nn.Module:
    return build_backbone(settings, 3, 32, seed)


def saved(folder: Path, tensors: Any, name: str = "weights.pth") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


def holds(network: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())


def test_any_classifier_of_torchvision_serves_without_its_last_layer() -> None:
    network = build_backbone(BackboneSettings(name="mobilenet_v3_small"), 3, 32, 0).eval()
    theirs = mobilenet_v3_small(weights=None).eval()
    missing = theirs.load_state_dict(network.model.state_dict(), strict=False).missing_keys
    assert missing == ["classifier.3.weight", "classifier.3.bias"]
    theirs.classifier[3] = torch.nn.Identity()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), theirs(images)) and network.features == 1024
        assert torch.equal(network(images[:, :1]), network(images[:, :1].repeat(1, 3, 1, 1))), "grey images are taken"


def test_a_network_that_there_is_not_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(MethodError, match="no network 'resnet19'. Did you mean 'resnet1[80]"):
        build_backbone(BackboneSettings(name="resnet19"), 3, 32, 0)
    with pytest.raises(MethodError, match="squeezenet1_0 does not end in a linear layer"):
        build_backbone(BackboneSettings(name="squeezenet1_0"), 3, 32, 0)


def test_the_seed_decides_the_weights() -> None:
    first = resnet().state_dict()
    assert holds(resnet(), first) and not holds(resnet(1), first)


def test_weights_of_moco_are_found_under_their_prefix_beside_its_second_network_and_its_queue(tmp_path: Path) -> None:
    source, second = resnet(1).state_dict(), resnet(2).state_dict()
    both = {f"module.encoder_k.{name}": tensor for name, tensor in second.items()}
    both |= {f"module.encoder_q.{name}": tensor for name, tensor in source.items()}
    heads = {
        "module.encoder_q.fc.0.weight": torch.zeros(2, 2),
        "module.queue": torch.zeros(3),
        "module.queue_ptr": torch.zeros(1),
    }
    network = resnet()
    load_backbone(network, given(saved(tmp_path, {"epoch": 800, "state_dict": both | heads, "optimizer": {}})))
    assert holds(network, source)


@pytest.mark.parametrize("form", ["plain", "parallel", "backbone", "safetensors", "torchvision", "old"])
def test_weights_are_taken_in_every_common_form(form: str, tmp_path: Path) -> None:
    source = resnet(1).state_dict()
    prefix = {"parallel": "module.", "backbone": "backbone."}.get(form, "")
    tensors = {prefix + name: tensor for name, tensor in source.items()}
    if form == "torchvision":
        tensors |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    if form == "old":
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    path = tmp_path / "weights.safetensors"
    if form == "safetensors":
        save_file(tensors, path)
    else:
        path = saved(tmp_path, tensors)
    network = resnet()
    load_backbone(network, given(path))
    assert holds(network, source)


def test_the_names_of_scans_own_cifar_network_are_understood(tmp_path: Path) -> None:
    settings = BackboneSettings(name="resnet18", stem="cifar")
    source = resnet(1, settings).state_dict()
    theirs = {f"backbone.{name.replace('.downsample.', '.shortcut.')}": tensor for name, tensor in source.items()}
    theirs["contrastive_head.0.weight"] = torch.zeros(512, 512)
    network = resnet(0, settings)
    load_backbone(network, given(saved(tmp_path, theirs)))
    assert holds(network, source)


def test_a_file_that_does_not_fill_the_whole_network_is_refused(tmp_path: Path) -> None:
    source = resnet(1).state_dict()
    lacking = {name: tensor for name, tensor in source.items() if not name.startswith("layer4.1.conv2")}
    odd = {**source, "conv1.weight": torch.zeros(64, 3, 3, 3)}
    stray = {**source, "layer5.0.conv1.weight": torch.zeros(1)}
    for tensors, message in (
        (lacking, "lacks layer4.1.conv2.weight"),
        (odd, "other shapes for conv1.weight"),
        (stray, "holds layer5.0.conv1.weight, which the network has no place for"),
    ):
        network = resnet()
        with pytest.raises(MethodError, match=message):
            load_backbone(network, given(saved(tmp_path, tensors)))
        assert holds(network, resnet().state_dict()), "nothing is filled by half"


def test_a_file_that_is_gone_changed_or_no_file_of_weights_is_refused_in_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, resnet(1).state_dict())
    weights = given(path)
    path.write_bytes(b"something else")
    with pytest.raises(MethodError, match="is gone or not the file that this trial was made for"):
        load_backbone(resnet(), weights)
    with pytest.raises(MethodError, match="neither a torch nor a safetensors file"):
        load_backbone(resnet(), given(path))
    with pytest.raises(MethodError, match="holds no tensors by name"):
        load_backbone(resnet(), given(saved(tmp_path, [1, 2], "list.pth")))
    with pytest.raises(ValueError, match="there is no file of weights at"):
        given(tmp_path / "nowhere.pth")
