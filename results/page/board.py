"""What the page opens with: contests, settings with their tiers, and a line of every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ..groups import Group, contest, group_records, lab_suffix, preset_rank, split_counted
from ..record import Record
from ..tiers import Placed, tiers
from .settings import METRICS, setting

RANKED = ("acc", "nmi", "ari", "miou")
LARGE = 300
"""Settings from which on only ACC is ranked, and of every contest only the best `MOST_TOLD` are told how many seeds they lack."""
MOST_TOLD = 10
RUN_METRICS = ("acc", "nmi", "ari", "miou")
Contest = tuple[Any, ...]  # as `groups.contest` gives it


class Board:
    """Groups of records in the order that the page shows them first: by data set, labelled ones first, best first.

    Attributes:
        groups: of the records that count.
        contests: what may be ranked against each other: data set, protocol, copy of the data, whether labelled.
        records: all, in the order that the page numbers them.
        is_large: whether there are so many settings that less is said of each.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)
        counted, _ = split_counted(self.records)
        groups: dict[Contest, list[Group]] = {}
        for group in group_records(counted):
            groups.setdefault(contest(group), []).append(group)
        self.contests = sorted(groups, key=lambda each: (not each[3], -len(groups[each]), str(each)))
        self.is_large = sum(map(len, groups.values())) > LARGE
        ranked = RANKED[:1] if self.is_large else RANKED
        self._placed = {each: _placed(groups[each], ranked) if each[3] else {} for each in self.contests}
        self.groups = [group for each in self.contests for group in self._ordered(each, groups[each])]

    def content(self) -> dict[str, Any]:
        """`contests`, `settings` and `runs` for the page's first view."""
        names, settings, told = self._dataset_names(), [], Counter[Contest]()
        for group in self.groups:
            own = contest(group)
            placed = {metric: found[id(group)] for metric, found in self._placed[own].items() if id(group) in found}
            told[own] += 1
            tell_more = not self.is_large or told[own] <= MOST_TOLD
            settings.append(setting(group, self.contests.index(own), names[own], placed, tell_more))
        return {
            "metrics": METRICS,
            "isLarge": self.is_large,
            "contests": [{"dataset": names[each], "protocol": each[1], "labelled": each[3]} for each in self.contests],
            "settings": settings,
            "runs": self._runs(),
        }

    def _ordered(self, of: Contest, groups: Sequence[Group]) -> list[Group]:
        if "acc" not in self._placed[of]:
            return sorted(groups, key=lambda group: (group.spec["method"], preset_rank(group.spec.get("preset"))))
        return [placed.group for placed in self._placed[of]["acc"].values()]

    def _dataset_names(self) -> dict[Contest, str]:
        """The data set of each contest, with the checksum of its copy where another copy of it is here."""
        copies = Counter(dataset for dataset, _ in {(each[0], each[2]) for each in self.contests})
        names = {}
        for each in self.contests:
            dataset, _, fingerprint, labelled = each
            copy = f" (data {str(fingerprint)[:8]})" if copies[dataset] > 1 else ""
            names[each] = f"{dataset}{copy}{'' if labelled else ' (no labels)'}"
        return names

    def _runs(self) -> dict[str, Any]:
        """Columns, one value a run; texts that repeat are numbers into `texts`."""
        of_setting = {id(record): number for number, group in enumerate(self.groups) for record in group.records}
        texts: dict[str, int] = {}
        columns: dict[str, list[Any]] = {name: [] for name in ("setting", "folder", "seed", "status", "seconds", "created")}
        columns |= {name: [] for name in ("method", "dataset", "protocol", "task", "budget", *RUN_METRICS)}
        for record in self.records:
            spec, number = record.spec, of_setting.get(id(record), -1)
            columns["setting"].append(number)
            columns["folder"].append(record.folder.name)
            columns["seed"].append(spec.get("seed"))
            columns["seconds"].append(_short(record.cost.get("total_seconds")))
            columns["created"].append(record.created[:16])
            words = {name: spec.get(name) for name in ("dataset", "protocol", "task")}
            words |= {"method": f"{spec.get('method')}{lab_suffix(record.lab)}", "budget": spec.get("preset")}
            words["status"] = "replaced by a newer run" if number < 0 and record.status == "complete" else record.status
            for name, word in words.items():
                columns[name].append(texts.setdefault(str(word), len(texts)))
            for metric in RUN_METRICS:
                columns[metric].append(_short(record.score(metric)))
        return {"texts": list(texts), "columns": columns}


def _placed(groups: Sequence[Group], metrics: Sequence[str]) -> dict[str, dict[int, Placed]]:
    """By metric and group (its `id`) the place in the groups' contest, best first."""
    found = {}
    for metric in metrics:
        measured = [group for group in groups if group.spread(metric) is not None]
        if measured:
            found[metric] = {id(placed.group): placed for placed in tiers(measured, metric)}
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
