"""Published numbers as a fidelity card takes them: which belong to a method here, and how they are printed beside ours."""

from __future__ import annotations

from .grid import NONE
from .groups import Spread
from .published import Published, published
from .tables.caveats import caveats

METRICS = {"acc": "acc", "pixel_acc": "acc", "miou": "miou", "nmi": "nmi", "ari": "ari"}  # published name: that of records
NAMES = {"acc": "ACC", "pixel_acc": "pixel ACC", "miou": "mIoU", "nmi": "NMI", "ari": "ARI"}
SHARES = ("nmi", "ari")  # published in [0, 1]; all others in percent
PIXELS = ("pixel_acc", "miou")
FINETUNED = "finetune"


def numbers_of(method: str, dataset: str, *, per_pixel: bool | None = None) -> list[Published]:
    """The published numbers of a method on a data set; those of a sample of the set are the whole's.

    Args:
        method: name here, of the image method where it has a variant for pixels.
        dataset: name here.
        per_pixel: only numbers of pixels (True) or only those of images (False).
    """
    whole = dataset.partition("@")[0]
    return [
        number
        for number in published()
        if method == method_of(number) and number.our_dataset == whole and per_pixel in (None, number.metric in PIXELS)
    ]


def method_of(number: Published) -> str | None:
    """The method here that a published number belongs to: a fine-tuned network's is not that of the method it began with."""
    return "iic-finetune" if number.method == "iic" and FINETUNED in number.note else number.method


def share(number: Published) -> float:
    """The number as a share in [0, 1]."""
    return number.value if number.metric in SHARES else number.value / 100


def label(number: Published | None) -> str:
    """`ACC, average of sub-heads (IIC, ICCV 2019, Table 1)`."""
    if number is None:
        return "ACC (nothing published)"
    where = f"{number.source}, Table {number.table}" if number.table else number.source
    how = "" if number.aggregate == "single" else f", {number.aggregate}"
    return f"{NAMES[number.metric]}{how} ({where})"


def printed(number: Published | None) -> str:
    """The number with its digits and spread as the source prints them."""
    if number is None:
        return NONE
    return f"{number.text} ± {number.std_text}" if number.std_text else number.text


def notes(number: Published | None) -> list[str]:
    """What must be known beside the number."""
    return [] if number is None else list(caveats(number))


def in_unit(number: Published | None, spread: Spread | None) -> str:
    """Our mean ± standard deviation in the unit of the number."""
    if spread is None:
        return NONE
    if number is None or number.metric not in SHARES:
        return spread.in_percent
    return f"{spread.mean:.3f}" if spread.std is None else f"{spread.mean:.3f} ± {spread.std:.3f}"


def signed(number: Published | None, difference: float | None) -> str:
    """A difference of shares, with its sign, in the unit of the number."""
    if difference is None:
        return NONE
    return f"{difference:+.3f}" if number and number.metric in SHARES else f"{100 * difference:+.1f}"
