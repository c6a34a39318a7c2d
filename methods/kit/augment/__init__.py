"""Augmentation of whole batches on the device, with independent parameters per image.

Drawing parameters (`sampling`) and applying them (the rest) are apart, so that each can be tested and repeated::

    boxes = resized_crop_boxes(len(images), 32, 32, generator)
    images = crop_and_resize(images, *boxes, size=32, flip=bernoulli(len(images), 0.5, generator))
    images = color_jitter(images, *jitter(len(images), 0.4, 0.4, 0.4, 0.125, generator))
"""

from .colour import BRIGHTNESS, CONTRAST, HUE, SATURATION, brightness, color_jitter, contrast, greyscale, hue, saturation, to_grey
from .cutout import cutout
from .geometry import affine, centre_crop, crop, crop_and_resize, horizontal_flip, resample, rotate
from .images import to_float
from .rand_augment import RandomOperations, rand_augment, random_operations
from .sampling import (
    Boxes,
    Jitter,
    bernoulli,
    choice,
    crop_positions,
    integers,
    jitter,
    permutations,
    resized_crop_boxes,
    uniform,
)
from .sobel import sobel, sobel_input
from .ten_crop import five_crop, ten_crop
from .tone import autocontrast, equalize, invert, posterize, sharpness, solarize

__all__ = [
    "BRIGHTNESS",
    "Boxes",
    "CONTRAST",
    "HUE",
    "Jitter",
    "RandomOperations",
    "SATURATION",
    "affine",
    "autocontrast",
    "bernoulli",
    "brightness",
    "centre_crop",
    "choice",
    "color_jitter",
    "contrast",
    "crop",
    "crop_and_resize",
    "crop_positions",
    "cutout",
    "equalize",
    "five_crop",
    "greyscale",
    "horizontal_flip",
    "hue",
    "integers",
    "invert",
    "jitter",
    "permutations",
    "posterize",
    "rand_augment",
    "random_operations",
    "resample",
    "resized_crop_boxes",
    "rotate",
    "saturation",
    "sharpness",
    "sobel",
    "sobel_input",
    "solarize",
    "ten_crop",
    "to_float",
    "to_grey",
    "uniform",
]
