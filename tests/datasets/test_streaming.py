"""Streaming from a memory map: the same batches as from memory, in any order, from any batch on, in bounded memory."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from clusterbench.datasets import streaming
from clusterbench.datasets.base import Images


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 6, 5), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return np.load(tmp_path / "images.npy", mmap_mode="c")


@pytest.fixture
def streamed(mapped: np.ndarray) -> Images:
    images = Images(torch.from_numpy(mapped), {"main": torch.arange(40)}).to("cpu", memory_share=0)
    assert images.is_streamed
    return images


def order(images: Images, seed: int = 0, size: int = 7) -> tuple[torch.Tensor, ...]:
    return images.order("main", size, torch.Generator().manual_seed(seed))


def test_streamed_batches_hold_the_images_of_their_indices(streamed: Images, mapped: np.ndarray) -> None:
    asked = order(streamed)
    for indices, batch in zip(asked, streamed.batches(asked), strict=True):
        assert np.array_equal(batch.numpy(), np.asarray(mapped)[indices.numpy()])


def test_resident_and_streamed_images_give_the_same_batches(streamed: Images) -> None:
    resident = Images(streamed.pixels, streamed.roles)
    for one, other in zip(resident.batches(order(resident)), streamed.batches(order(streamed)), strict=True):
        assert torch.equal(one, other)


def test_one_pass_gives_every_image_of_the_role_once_and_no_other(streamed: Images) -> None:
    assert sorted(torch.cat(order(streamed)).tolist()) == list(range(40))
    assert [len(indices) for indices in order(streamed)] == [7, 7, 7, 7, 7, 5]


def test_the_same_seed_shuffles_alike_and_another_does_not(streamed: Images) -> None:
    assert all(torch.equal(a, b) for a, b in zip(order(streamed), order(streamed), strict=True))
    assert not torch.equal(torch.cat(order(streamed, seed=0)), torch.cat(order(streamed, seed=1)))


def test_without_a_generator_the_stored_order_is_kept(streamed: Images) -> None:
    assert torch.cat(streamed.order("main", 9)).tolist() == list(range(40))


def test_an_epoch_left_in_its_middle_goes_on_where_it_was_left(streamed: Images) -> None:
    whole = [batch.clone() for batch in streamed.batches(order(streamed))]
    begun = streamed.batches(order(streamed))
    first = [next(begun) for _ in range(3)]
    begun.close()
    rest = list(streamed.batches(order(streamed)[3:]))
    assert all(torch.equal(a, b) for a, b in zip(whole, [*first, *rest], strict=True))


def test_a_batch_stays_as_it_is_while_later_ones_are_read(streamed: Images) -> None:
    kept = list(streamed.batches(order(streamed)))
    assert all(torch.equal(batch, streamed.batch(indices)) for batch, indices in zip(kept, order(streamed), strict=True))


def test_no_more_batches_are_read_ahead_than_said(streamed: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = torch.index_select

    def counted(pixels: torch.Tensor, dim: int, indices: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        read.append(len(indices))
        return real(pixels, dim, indices, out=out)

    monkeypatch.setattr(torch, "index_select", counted)
    batches = streamed.batches(order(streamed, size=1))
    next(batches)
    settled = threading.Event()
    settled.wait(0.2)  # long enough for the reader to run ahead if nothing held it
    assert len(read) <= 1 + streaming.AHEAD + 1  # in use, waiting, and one that waits for room
    batches.close()


def test_the_reader_ends_when_the_consumer_leaves(streamed: Images) -> None:
    batches = streamed.batches(order(streamed, size=1))
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_an_error_of_the_reader_reaches_the_consumer(streamed: Images) -> None:
    with pytest.raises(IndexError, match="out of range"):
        list(streamed.batches([torch.tensor([0]), torch.tensor([99])]))


def test_images_stay_in_the_memory_map_if_they_fit(mapped: np.ndarray) -> None:
    images = Images(torch.from_numpy(mapped)).to("cpu", memory_share=1)
    assert not images.is_streamed
    assert images.pixels.data_ptr() == mapped.ctypes.data


@pytest.mark.parametrize(("share", "fits"), [(0.49, False), (0.5, True)])
def test_images_fit_if_they_take_at_most_their_share_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, share: float, fits: bool
) -> None:
    monkeypatch.setattr(streaming, "available_memory", lambda: 2000)
    assert streaming.fits(torch.zeros(1000, dtype=torch.uint8), torch.device("cpu"), share) is fits


def test_the_free_memory_is_less_than_the_machine_has_and_follows_a_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CGROUP", tmp_path / "none")
    total = next(int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert 0 < streaming.available_memory() < total
    for name, text in {"memory.max": "5000", "memory.current": "4000", "memory.stat": "anon 1000\nfile 2500\n"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(streaming, "CGROUP", tmp_path)
    assert streaming.available_memory() == 3500


def test_central_windows_are_cut_from_each_images_own_extent() -> None:
    batch = torch.arange(2 * 3 * 8 * 9, dtype=torch.int32).reshape(2, 3, 8, 9).to(torch.uint8)
    extents = torch.tensor([[8, 9], [5, 6]])
    cut = streaming.central_windows(batch, extents, (4, 3))
    for image, (height, width), found in zip(batch, extents.tolist(), cut, strict=True):
        top, left = (height - 4) // 2, (width - 3) // 2
        assert torch.equal(found, image[:, top : top + 4, left : left + 3])
    assert torch.equal(streaming.central_windows(batch, None, (4, 3)), batch[:, :, 2:6, 3:6])


def test_images_with_a_window_give_batches_of_its_size_resident_or_streamed() -> None:
    pixels = torch.randint(0, 256, (5, 3, 8, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    extents = torch.tensor([[8, 9], [4, 4], [6, 5], [5, 8], [7, 7]])
    resident = Images(pixels, extents=extents, window=(4, 3))
    assert resident.shape == (3, 4, 3)
    asked = resident.order("all", 2)
    streamed = resident.to("cpu", memory_share=0)
    for one, other in zip(resident.batches(asked), streamed.batches(asked), strict=True):
        assert one.shape[1:] == (3, 4, 3)
        assert torch.equal(one, other)


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.0, 0.9], ids=["streamed", "resident"])
def test_batches_reach_the_gpu_unchanged(mapped: np.ndarray, share: float) -> None:
    images = Images(torch.from_numpy(mapped)).to("cuda:0", memory_share=share)
    assert images.is_streamed is (share == 0)
    asked = images.order("all", 7, torch.Generator("cuda").manual_seed(0))
    for indices, batch in zip(asked, images.batches(asked), strict=True):
        assert batch.device.type == "cuda"
        assert np.array_equal(batch.cpu().numpy(), np.asarray(mapped)[indices.cpu().numpy()])
