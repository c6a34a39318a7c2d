"""Segmentation side by side: image, truth, and what each method makes of it (Ji et al., ICCV 2019, Figure 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..groups import Group
from ..record import Record, Selection
from .facts import class_names, facts, file_stem, n_classes
from .jobs import Cannot, Drawn, Job, Request
from .pixels import shown
from .predictions import arrays_of, counts_and_naming, has_labels
from .style import FAINT, IGNORED, class_colours, entitle, new_figure, plain_axes, shortened

KIND = "segmentation"
IMAGES, PANEL = 4, 1.9  # rows, and inches of a panel
MOST_METHODS, ABREAST = 22, 9  # columns of predictions, and columns of all kinds before further ones come below
IGNORED_LABEL, LEGEND_LINES = -1, 45


def jobs(request: Request) -> list[Job]:
    """A figure for each data set, with a column for each setting: its trial with the median accuracy."""
    sets: dict[tuple[Any, ...], list[Group]] = {}
    for group in request.groups:
        if is_per_pixel(group.records[0], request.selection):
            spec = group.spec
            sets.setdefault((spec["dataset"], spec["protocol"], spec["data_fingerprint"]), []).append(group)
    stems = [file_stem(KIND, dataset, *([] if protocol == "full" else [protocol])) for dataset, protocol, _ in sets]
    stems = [
        f"{stem}-{fingerprint[:8]}" if stems.count(stem) > 1 else stem
        for stem, (_, _, fingerprint) in zip(stems, sets, strict=True)
    ]
    return [
        Job(KIND, stem, lambda groups=groups: draw(groups, request)) for stem, groups in zip(stems, sets.values(), strict=True)
    ]


def is_per_pixel(record: Record, selection: Selection) -> bool:
    """Whether a record is of labelled pixels."""
    return record.score("miou", selection) is not None


def draw(groups: Sequence[Group], request: Request) -> Drawn:
    """A row for each of a few images: the image, its true classes, and those that each method's clusters stand for."""
    able = _columns(groups, request)
    records = able[:MOST_METHODS]
    arrays = [arrays_of(record) for record in records]
    which = spread_images(arrays[0]["truth"])
    truth, rows = np.asarray(arrays[0]["truth"])[which], np.asarray(arrays[0]["rows"])[which]
    maps = [class_maps(record, request.selection, stored, which) for record, stored in zip(records, arrays, strict=True)]
    pictures, remarks = _pictures(records[0], request, rows)
    names = class_names(records[0], n_classes(records[0]))
    headings = ["truth", *(_heading(record, request.selection) for record in records)]
    columns = [(heading, coloured(labels, truth, len(names))) for heading, labels in zip(headings, [truth, *maps], strict=True)]
    columns = columns if pictures is None else [("image", pictures), *columns]
    figure = _panels(columns, truth.shape[1] / truth.shape[2])
    _legend(figure, names, [truth, *maps])
    dataset = records[0].spec["dataset"]
    told = "Clusters have the colour of the class that they are matched with. Grey: not judged."
    told += f" The best {len(records)} of {len(able)}." if len(records) < len(able) else ""
    without = [group.spec["method"] for group in groups if not any(map(has_labels, group.records))]
    told += f" No label maps on record, so not drawn: {', '.join(dict.fromkeys(without))}." if without else ""
    entitle(figure, f"Segmentation: {dataset}", facts(records, request.selection, told))
    return Drawn(figure, f"segmentation of {dataset} by {', '.join(record.spec['method'] for record in records)}", remarks)


def spread_images(truth: np.ndarray, most: int = IMAGES) -> np.ndarray:
    """Positions of up to `most` of the label maps (M, H, W), evenly spread over those with a judged pixel."""
    judged = np.flatnonzero((np.asarray(truth) != IGNORED_LABEL).any(axis=(1, 2)))
    return judged[np.unique(np.linspace(0, len(judged) - 1, min(len(judged), most)).round().astype(int))]


def class_maps(record: Record, selection: Selection, arrays: Any, which: np.ndarray) -> np.ndarray:
    """The classes (m, H, W) that the selection's clusters stand for in the images at `which`; -1 for a cluster without one."""
    _, naming = counts_and_naming(record, selection, arrays)
    return naming.classes[arrays[selection][int(arrays[f"{selection}/head"])][which].astype(np.int64)]


def coloured(labels: np.ndarray, truth: np.ndarray, n: int) -> np.ndarray:
    """Classes as colours: (m, H, W, 3) in [0, 1]. What the truth leaves open is light grey, a cluster without a class dark."""
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(colour) for colour in (*class_colours(n), FAINT)])  # label -1 takes the last
    return np.where((truth == IGNORED_LABEL)[..., None], to_rgb(IGNORED), palette[labels])


def _columns(groups: Sequence[Group], request: Request) -> list[Record]:
    """One record a setting, best first, of those that keep label maps. Raises `Cannot` if none does."""
    records = [record for group in groups for record in request.shown(group, has_labels)]
    able = [record for record in records if has_labels(record)]
    if not able:
        arrays_of(records[0])  # says what is missing
    return sorted(able, key=lambda record: -(record.score("acc", request.selection) or 0))


def _pictures(record: Record, request: Request, rows: np.ndarray) -> tuple[np.ndarray | None, tuple[Cannot, ...]]:
    try:
        return shown(request.images(record, rows)), ()
    except Cannot as missing:
        return None, (Cannot(f"drawn without the images: {missing.why}", missing.remedy),)


def _heading(record: Record, selection: Selection) -> str:
    acc, miou = record.score("acc", selection) or 0, record.score("miou", selection) or 0
    changed = [f"{name.rpartition('.')[2]}={value}" for name, value in (record.spec.get("overrides") or {}).items()]
    settings = [f"{record.spec['preset']} preset", *changed]
    return f"{record.spec['method']}\n{shortened([', '.join(settings)], 28)[0]}\nACC {100 * acc:.1f} %, mIoU {100 * miou:.1f} %"


def _panels(columns: Sequence[tuple[str, np.ndarray]], height: float) -> Any:
    """A figure of columns, each a heading and pictures from above; the last columns stand below where one line is too long.

    `height` is that of a picture over its width.
    """
    blocks = -(-len(columns) // ABREAST)
    abreast, rows = -(-len(columns) // blocks), len(columns[0][1])
    figure = new_figure(PANEL * abreast + 2.0, PANEL * rows * blocks * height + 0.7 + 0.8 * blocks)
    grid = figure.subplots(rows * blocks, abreast, squeeze=False)
    for number in range(blocks * abreast):
        block, across = divmod(number, abreast)
        axes = grid[block * rows : (block + 1) * rows, across]
        if number < len(columns):
            _draw_column(axes, *columns[number])
        else:
            for empty in axes:
                empty.remove()
    return figure


def _draw_column(column: Any, heading: str, pictures: np.ndarray) -> None:
    column[0].set_title(heading, fontsize=8.5)
    for axes, picture in zip(column, pictures, strict=True):
        axes.imshow(picture, interpolation="nearest")
        plain_axes(axes)


def _legend(figure: Any, names: Sequence[str], maps: Sequence[np.ndarray]) -> None:
    """The classes that occur, in the order of the classes."""
    from matplotlib.patches import Patch

    found = np.unique(np.concatenate([np.unique(labels) for labels in maps]))
    colours, named = class_colours(len(names)), shortened(names, 26)
    patches = [Patch(color=colours[label], label=named[label]) for label in found.tolist() if label >= 0]
    patches.append(Patch(color=IGNORED, label="not judged"))
    if any((labels == IGNORED_LABEL).any() for labels in maps[1:]):
        patches.append(Patch(color=FAINT, label="no class"))
    figure.legend(handles=patches, loc="outside right upper", fontsize=7.5, ncols=-(-len(patches) // LEGEND_LINES))
