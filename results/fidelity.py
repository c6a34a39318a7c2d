"""The fidelity card of a method on a data set: what was published, what came out here, and all that lies between the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from .differences import ABSENT, differences
from .fidelity_numbers import METRICS, SHARES, in_unit, label, notes, printed, share, signed
from .grid import NONE, Cell, Footnotes, Row, Section, Table, line, percent, points
from .groups import ENOUGH_SEEDS, Group, Spread, deviations, group_records, preferred, split_counted, spread_of, why_left_out
from .published import Published
from .record import Record, Selection

BEST, AVERAGE_OF_HEADS = "best", "average of sub-heads"
CHOICES: dict[Selection, str] = {"own-loss": "own loss", "last": "last epoch", "oracle": "labels"}
LEVEL = 0.95
SAME = 1e-12  # a spread below it is rounding
COLUMNS = ("Number", "Chosen by", "Published", "Ours", "Difference", "Standard errors")
FACTS = (
    *("method", "dataset", "number", "source", "published", "selection", "ours", "std", "n", "difference", "standard_errors"),
    *("critical", "preset", "protocol", "selection_gap", "collapsed", "collapse_known", "notes"),
)
CAPTION = (
    "Ours: mean ± sample standard deviation over seeds, once for each way to choose the epoch and sub-head; only the first two "
    "need no labels. Difference: ours minus published, in the unit of the number. Standard errors: the difference over "
    "std / sqrt(n) of our seeds, the published number taken as exact; beside it the size that chance alone passes in 5 % of "
    "cases (Student's t)."
)


@dataclass(frozen=True)
class Original:
    """What a reader must hold a run against.

    Attributes:
        changes: by preset, what it changes against the publication, from the method's card.
        config: the resolved settings of the preset that reproduces the publication on this data set; None if there is none.
        leaks: what the published protocol lets in from the test images or their labels.
    """

    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    leaks: Sequence[str] = ()


def fidelity_card(
    records: Iterable[Record],
    dataset: str,
    *,
    names: Sequence[str],
    numbers: Sequence[Published],
    original: Original | None = None,
    command: str = "",
) -> Table:
    """The card of one method on one data set.

    One group of runs fills it, chosen as a table's cell is (`groups.preferred`); the others are named. Failed and unfinished
    runs are listed: they are in no mean.

    Args:
        records: any records.
        dataset: name of the data set, as in the records.
        names: the method's name, then those of its variants; the first is the card's.
        numbers: its published numbers there, see `fidelity_numbers.numbers_of`.
        original: what it is held against.
        command: what makes runs where there are none.
    """
    mine = [record for record in records if record.spec.get("method") in names and record.spec.get("dataset") == dataset]
    counted, left_out = split_counted(mine)
    protocol = numbers[0].protocol if numbers else "full"
    groups = preferred(group_records(counted), protocol)
    card = _Card(dataset, names[0], groups[0] if groups else None)
    rows = tuple(row for number in numbers or [None] for row in card.rows(number))
    original = original or Original()
    of_group = _of_group(groups[0], dataset, protocol, original) if groups else ()
    sections = (
        Section("To fill it", (command,) if command and not groups else (), code=True),
        *of_group,
        Section("What the published protocol took from the test images or their labels", tuple(original.leaks)),
        Section("Runs that are not in this card", tuple(f"{group.spec['method']}, {group.name}" for group in groups[1:])),
        Section("Not averaged", tuple(why_left_out(record) for record in left_out)),
    )
    return Table(
        title=f"Fidelity card: {names[0]} on {dataset}",
        caption=CAPTION,
        columns=COLUMNS,
        rows=rows,
        footnotes=card.footnotes.texts,
        sections=tuple(section for section in sections if section.lines),
        facts=tuple(card.facts),
        labels=2,
    )


@dataclass(frozen=True)
class _Measured:
    """Ours beside one published number.

    Attributes:
        selection: how the epoch and sub-head were chosen; None where there is no run.
        ours: a share in [0, 1].
        gap: ours minus published, a share.
        errors: the gap in standard errors, and the size that chance passes in 5 % of cases; None where there is no claim.
        why_not: why there is none, "" where nothing is to be said.
    """

    selection: Selection | None = None
    ours: Spread | None = None
    gap: float | None = None
    errors: tuple[float, float] | None = None
    why_not: str = ""


@dataclass
class _Card:
    """Makes the rows, and collects footnotes and facts."""

    dataset: str
    method: str
    group: Group | None
    footnotes: Footnotes = field(default_factory=Footnotes)
    facts: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, number: Published | None) -> list[Row]:
        """A row for each way to choose, under the published number."""
        if self.group is None:
            return [self._row(number, _Measured(), "")]
        if number is not None and number.aggregate == BEST:
            return [self._row(number, _measured(self.group, number, "own-loss"), "best of its seeds, by labels")]
        return [self._row(number, _measured(self.group, number, selection), how) for selection, how in CHOICES.items()]

    def _row(self, number: Published | None, measured: _Measured, how: str) -> Row:
        self.facts.append(self._fact(number, measured))
        first = measured.selection in (None, "own-loss")
        ours = "no run" if measured.selection is None else in_unit(number, measured.ours)
        named = line(label(number), "", self.footnotes.marks(*notes(number))) if first else line("")
        published = line(printed(number), "published") if first else line("")
        cells = (named, line(how), published, line(ours, "ours" if first else ""), line(signed(number, measured.gap)))
        return Row((*cells, self._errors(measured)))

    def _errors(self, measured: _Measured) -> Cell:
        if measured.errors is None:
            return line(NONE, "", self.footnotes.marks(measured.why_not) if measured.why_not else ())
        return line(f"{measured.errors[0]:+.1f} (chance: {measured.errors[1]:.1f})")

    def _fact(self, number: Published | None, measured: _Measured) -> dict[str, Any]:
        def unit(value: float | None) -> float | None:
            return value if number and number.metric in SHARES else points(value)

        errors, critical = measured.errors or (None, None)
        known: dict[str, Any] = {"method": self.method, "dataset": self.dataset, "number": label(number)}
        known |= {"source": number and number.source, "published": number and number.value, "selection": measured.selection}
        known |= {"ours": unit(measured.ours and measured.ours.mean), "std": unit(measured.ours and measured.ours.std)}
        known |= {"difference": unit(measured.gap), "standard_errors": errors, "critical": critical}
        known["notes"] = " ".join([*notes(number), measured.why_not]).strip()
        return {**dict.fromkeys(FACTS), **known, **(_about(self.group) if self.group else {})}


def _measured(group: Group, number: Published | None, selection: Selection) -> _Measured:
    ours = _ours(group, number, selection)
    if ours is None or number is None:
        return _Measured(selection, ours)
    gap = ours.mean - share(number)
    errors = _standard_errors(number, ours, gap)
    return _Measured(selection, ours, gap, why_not=errors) if isinstance(errors, str) else _Measured(selection, ours, gap, errors)


def _ours(group: Group, number: Published | None, selection: Selection) -> Spread | None:
    """What is of the same kind as the published number: the mean over seeds, that of all sub-heads, or the best seed."""
    metric, aggregate = (METRICS[number.metric], number.aggregate) if number else ("acc", "")
    if aggregate == BEST:
        scores = [score for record in group.records if (score := record.score(metric, selection)) is not None]
        return Spread(max(scores), None, 1) if scores else None
    if aggregate == AVERAGE_OF_HEADS:
        heads = [record.metrics.get(selection, {}).get("heads") or {} for record in group.records]
        return spread_of([each.get("acc_mean") for each in heads])
    return group.spread(metric, selection)


def _standard_errors(number: Published, ours: Spread, gap: float) -> tuple[float, float] | str:
    """The difference in standard errors and the size that chance passes in 5 % of cases; or why there is no claim."""
    if number.aggregate == BEST:
        return "A best of several runs has no standard error."
    if ours.n < ENOUGH_SEEDS or ours.std is None:
        return f"{ours.n} seed{'s'[: ours.n != 1]}: too few for a claim (at least {ENOUGH_SEEDS})."
    if ours.std < SAME:
        return "The seeds do not differ, so the difference has no standard error."
    from scipy.stats import t

    return gap * sqrt(ours.n) / ours.std, float(t.ppf((1 + LEVEL) / 2, ours.n - 1))


def _about(group: Group) -> dict[str, Any]:
    known, collapsed = _collapsed(group)
    about = {"n": group.n, "preset": group.spec.get("preset"), "protocol": group.spec["protocol"]}
    return {**about, "selection_gap": points(group.selection_gap), "collapsed": len(collapsed), "collapse_known": len(known)}


def _of_group(group: Group, dataset: str, protocol: str, original: Original) -> tuple[Section, ...]:
    places = (f"{_seed(record)}: ACC {percent(record.score('acc'))} ({record.folder})" for record in group.records)
    return (
        Section("Selection gap, collapse, seeds", _health(group)),
        Section("Deviations from the original", tuple(_deviations(group, dataset, protocol, original))),
        Section("Records", tuple(places)),
    )


def _health(group: Group) -> tuple[str, ...]:
    """What the group is, its selection gap and its collapse rate."""
    spec, seeds = group.spec, ", ".join(str(record.spec.get("seed")) for record in group.records)
    setting = f"budget {spec.get('preset')}, protocol {spec['protocol']}, n={group.n} (seeds {seeds})"
    lines = [f"Runs: {spec['method']}, {setting}."]
    own, oracle = group.spread("acc"), group.spread("acc", "oracle")
    if own and oracle:
        told = f"ACC {own.in_percent} by its own loss, {oracle.in_percent} by labels"
        lines.append(f"Selection gap: {100 * (oracle.mean - own.mean):+.1f} points ({told}).")
    return (*lines, _collapse(group))


def _collapse(group: Group) -> str:
    known, collapsed = _collapsed(group)
    if not known:
        used = ", ".join(str(record.score("clusters_used")) for record in group.records)
        return f"Collapse: these records do not tell; clusters used: {used} of {group.spec.get('n_clusters')}."
    from scipy.stats import binomtest

    low, high = binomtest(len(collapsed), len(known)).proportion_ci(LEVEL, "wilson")
    which = f" ({', '.join(map(_seed, collapsed))})" if collapsed else ""
    silent = f"; {group.n - len(known)} do not tell" if len(known) < group.n else ""
    rate = f"95 % interval of the rate {100 * low:.0f} to {100 * high:.0f} %"
    return f"Collapse: {len(collapsed)} of {len(known)} seeds{which}, {rate}{silent}."


def _collapsed(group: Group) -> tuple[list[Record], list[Record]]:
    """The records that say whether their training collapsed, and those where it did."""
    known = [record for record in group.records if record.diagnostics.get("collapsed") is not None]
    return known, [record for record in known if record.diagnostics["collapsed"]]


def _deviations(group: Group, dataset: str, protocol: str, original: Original) -> Iterable[str]:
    """Everything that differs from the original, each in a line."""
    spec, preset = group.spec, str(group.spec.get("preset"))
    if "@" in dataset and ":" not in dataset:
        yield f"Data: {dataset}, a sample of {dataset.partition('@')[0]}."
    if spec["protocol"] != protocol:
        yield f"Protocol {spec['protocol']}; the published numbers are under {protocol}."
    yield from deviations(group)
    for name in dict.fromkeys(["paper", preset]):
        yield from (f"Preset {name}: {text}" for text in original.changes.get(name, ()))
    if original.config is None:
        yield "No preset reproduces the publication on this data set: the settings cannot be compared."
        return
    found = list(differences(spec.get("config") or {}, original.config))
    yield from (f"Setting {name}: {ours}; preset paper: {theirs}" for name, ours, theirs in found if ours != ABSENT)
    if since := [name for name, ours, _ in found if ours == ABSENT]:
        yield f"Settings that came later than these runs: {', '.join(since)}."


def _seed(record: Record) -> str:
    return f"seed {record.spec.get('seed')}"
