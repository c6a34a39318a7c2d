"""Pictures drawn at random for generated samples: an object of a class on any background, or textured regions."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

GOLDEN = 0.618033988749895  # its multiples modulo 1 are spread evenly, however many there are
NOISE = 12.0  # grey levels, standard deviation


@dataclass(frozen=True)
class _Look:
    """What all objects of one class share. Twenty classes in a row differ in outline and texture, all in colour."""

    outline: int
    texture: int
    angle: float
    frequency: float
    colour: np.ndarray

    @classmethod
    def of(cls, label: int, classes: int, channels: int) -> _Look:
        hue = label / classes
        colour = 0.55 + 0.45 * np.cos(2 * np.pi * (hue + np.arange(3) / 3))
        if channels != 3:  # grey is told by its brightness; infrared goes its own way
            other = np.array([0.6 + 0.4 * (label * GOLDEN % 1)])
            colour = other if channels == 1 else np.concatenate([colour, other])
        angle = np.pi * (label * GOLDEN % 1)
        return cls(label % len(OUTLINES), label % len(TEXTURES), angle, 2.0 + label % 3, colour.astype(np.float32))


def random_of(name: str, split: str, number: int) -> np.random.Generator:
    """The random numbers of one image, the same on every machine and in whatever order images are drawn."""
    return np.random.default_rng([zlib.crc32(name.encode()), zlib.crc32(split.encode()), number])


def object_picture(random: np.random.Generator, label: int, classes: int, shape: tuple[int, int, int]) -> np.ndarray:
    """An object of class `label` of `classes` on a random background, uint8 (C, H, W) = `shape`."""
    look = _Look.of(label, classes, shape[0])
    y, x = _plane(*shape[1:])
    angle, scale = random.normal(0, 0.12), random.uniform(0.7, 0.95)
    centre = random.uniform(-0.15, 0.15, 2).astype(np.float32)
    u, v = _turned(x - centre[0], y - centre[1], angle)
    inside = OUTLINES[look.outline](u / scale, v / scale)  # (H, W)
    light = random.uniform(0.65, 1.1) * (0.35 + 0.65 * _texture(look, u / scale, v / scale, random.normal(0, 0.6)))
    slope = random.uniform(-0.12, 0.12, 2).astype(np.float32)
    ground = random.uniform(0.1, 0.4, (shape[0], 1, 1)) + slope[0] * x + slope[1] * y  # (C, H, W)
    return _noisy(random, np.where(inside, light * look.colour[:, None, None], ground))


def regions_picture(random: np.random.Generator, classes: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Four to eight textured regions with curved borders, some of unknown class.

    Returns:
        uint8 (C, H, W) = `shape`, and the class of every pixel, int16 (H, W), -1 where it is not known.
    """
    y, x = _plane(*shape[1:])
    bend, turn = random.uniform(0.05, 0.15, 2), random.uniform(0, 2 * np.pi, 2)
    wavy = np.stack([y + bend[0] * np.sin(4 * x + turn[0]), x + bend[1] * np.sin(4 * y + turn[1])])  # (2, H, W)
    centres = random.uniform(-1, 1, (int(random.integers(4, 9)), 2))
    cells = ((wavy[None] - centres[:, :, None, None]) ** 2).sum(1).argmin(0)  # (H, W): the nearest centre, as Voronoi
    known = random.integers(0, classes, len(centres)).astype(np.int16)
    known[random.random(len(centres)) < 0.1] = -1
    picture = np.full(shape, 0.5, np.float32)
    for cell in np.flatnonzero(known >= 0):
        look = _Look.of(int(known[cell]), classes, shape[0])
        texture = _texture(look, 2 * x, 2 * y, random.uniform(0, 2 * np.pi))
        light = random.uniform(0.7, 1.05) * (0.45 + 0.55 * texture)
        picture = np.where(cells == cell, light * look.colour[:, None, None], picture)
    return _noisy(random, picture), known[cells]


def _plane(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates y (H, 1) and x (1, W), from -1 to 1."""
    return np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None, :]


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y


def _noisy(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Values around 0..1 as uint8, with noise."""
    return np.clip(np.rint(255 * picture + random.normal(0, NOISE, picture.shape)), 0, 255).astype(np.uint8)


def _texture(look: _Look, u: np.ndarray, v: np.ndarray, phase: float) -> np.ndarray:
    """Brightness 0..1 at each point."""
    along, across = _turned(u, v, look.angle)
    frequency = np.pi * look.frequency
    return TEXTURES[look.texture](frequency * along + phase, frequency * across + phase)


OUTLINES = (
    lambda u, v: u**2 + v**2 < 0.64,
    lambda u, v: np.maximum(abs(u), abs(v)) < 0.7,
    lambda u, v: (v < 0.6) & (v > 1.6 * abs(u) - 0.8),
    lambda u, v: (u**2 + v**2 < 0.8) & (u**2 + v**2 > 0.25),
    lambda u, v: (np.minimum(abs(u), abs(v)) < 0.25) & (np.maximum(abs(u), abs(v)) < 0.85),
)
"""Disc, square, triangle, ring and cross."""
TEXTURES = (
    lambda a, b: 0.5 + 0.5 * np.sin(a) + 0 * b,
    lambda a, b: (np.sin(a) * np.sin(b) > 0).astype(np.float32),
    lambda a, b: (np.cos(a) + np.cos(b) > 0.5).astype(np.float32),
    lambda a, b: 0.7 + 0 * (a + b),
)
"""Waves, checks, blobs and plain."""
