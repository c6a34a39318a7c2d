"""Two runs, methods or folders of records held against each other: scores with the test, settings, environment and data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .comparison_pairs import Pair, Side, pair_up, where
from .differences import ABSENT, differences, flat, shown
from .grid import NONE, Row, Section, Table, duration, line, points
from .groups import Group, Spread, deviations, group_records, split_counted, why_left_out
from .inference import holm
from .record import Record, RecordError, Selection
from .statistics import Comparison, compare_groups, more_seeds

COLUMNS = ("Score", "A", "B", "A - B", "95 % interval", "Test")
SCORES: tuple[tuple[str, str, Selection], ...] = (
    ("ACC", "acc", "own-loss"), ("NMI", "nmi", "own-loss"), ("ARI", "ari", "own-loss"), ("mIoU", "miou", "own-loss"),
    ("ACC, last epoch", "acc", "last"), ("ACC, chosen by labels", "acc", "oracle"),
)  # fmt: skip
TESTED = "ACC"  # one test for each pair, of what ranks; the other scores are of the same clusters
ABOUT = ("method", "method_version", "preset", "n_clusters", "time_limit_s")
NOT_ENVIRONMENT = ("data", "command")
FACTS = (
    *("dataset_a", "protocol_a", "method_a", "preset_a", "n_a", "dataset_b", "protocol_b", "method_b", "preset_b", "n_b"),
    *("score", "value_a", "std_a", "value_b", "std_b", "difference", "low", "high", "p", "p_holm", "test", "why_not"),
)
CAPTION = (
    "Scores in %: mean ± sample standard deviation over seeds, for the sub-head and epoch that the method's own loss prefers, "
    "unless it says otherwise. The interval is a bootstrap over seeds. Test: whether ACC differs, paired over seeds where both "
    "sides have the same ones, else Welch's; p is corrected by Holm where several pairs are tested. No claim is made of fewer "
    "than three seeds."
)


def comparison(a: Side, b: Side) -> Table:
    """Hold `a` against `b`.

    What is compared with what is said by `comparison_pairs.pair_up`; what has no counterpart is named.

    Raises:
        RecordError: a side has no finished run, or nothing of the two can be paired.
    """
    sides = [(side, *split_counted(side.records)) for side in (a, b)]
    for side, counted, _ in sides:
        if not counted:
            raise RecordError(f"{side.name} has no finished run to compare. See what there is: bench leaderboard")
    pairs, alone = pair_up((a.kind, b.kind), *(group_records(counted) for _, counted, _ in sides))
    if not pairs:
        raise RecordError(f"{a.name} and {b.name} have nothing in common to compare: {_missed(alone)}.")
    tests = _tests(pairs)
    built = [_rows(pair, test) for pair, test in zip(pairs, tests, strict=True)]
    sections = (
        Section("Test", tuple(_merged(pairs, lambda pair: [_verdict(pair, tests[pairs.index(pair)])]))),
        Section("Configuration: A; B", tuple(_merged(pairs, _configuration))),
        Section("Environment: A; B", tuple(_merged(pairs, _environment))),
        Section("Data: A; B", tuple(_merged(pairs, _data))),
        Section("What else to know", tuple(_merged(pairs, _beside))),
        Section("Without a counterpart", alone),
        Section("Not averaged", tuple(why_left_out(record) for _, _, left_out in sides for record in left_out)),
    )
    return Table(
        title=f"A: {a.name}, B: {b.name}",
        caption=CAPTION,
        columns=COLUMNS,
        rows=tuple(row for rows, _ in built for row in rows),
        sections=tuple(section for section in sections if section.lines),
        facts=tuple(fact for _, facts in built for fact in facts),
    )


def _missed(alone: Sequence[str]) -> str:
    return "; ".join(alone[:4]) + (f" and {len(alone) - 4} more" if len(alone) > 4 else "")


def _tests(pairs: Sequence[Pair]) -> list[Comparison]:
    found = [compare_groups(*pair) for pair in pairs]
    corrected = iter(holm([test.p for test in found if test.p is not None]))
    return [test if test.p is None or len(pairs) == 1 else replace(test, p_holm=next(corrected)) for test in found]


def _rows(pair: Pair, test: Comparison) -> tuple[list[Row], list[dict[str, Any]]]:
    """The rows of a pair, and their facts."""
    rows, facts = [], []
    for name, metric, selection in SCORES:
        a, b = (group.spread(metric, selection) for group in pair)
        if a is None and b is None:
            continue
        found = test if (name == TESTED) else compare_groups(*pair, metric) if selection == "own-loss" else None
        rows.append(_row(pair, name, a, b, found))
        facts.append(_fact(pair, name, a, b, found))
    rows += [_costs(pair, "Clusters used", "clusters_used"), *_agreement(pair)]
    rows += [_costs(pair, "Time a seed", "total_seconds"), _costs(pair, "Images a seed", "images")]
    return rows, facts


def _row(pair: Pair, name: str, a: Spread | None, b: Spread | None, found: Comparison | None) -> Row:
    gap = NONE if a is None or b is None else f"{100 * (a.mean - b.mean):+.1f}"
    interval = found.interval if found else None
    between = NONE if interval is None else f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"
    tested = _short(found) if found and name == TESTED else ""
    scores = (NONE if spread is None else spread.in_percent for spread in (a, b))
    cells = (line(name), *(line(text, "ours") for text in scores), line(gap), line(between), line(tested))
    return Row(cells, pair.heading)


def _costs(pair: Pair, name: str, what: str) -> Row:
    if what == "clusters_used":
        spreads = [group.spread(what) for group in pair]
        texts = [NONE if each is None else f"{each.mean:.3g} of {group.spec['n_clusters']}"
                 for each, group in zip(spreads, pair, strict=True)]  # fmt: skip
    else:
        costs = [group.cost(what) for group in pair]
        texts = [NONE if cost is None else duration(cost) if what == "total_seconds" else f"{cost:,.0f}" for cost in costs]
    return Row((line(name), *map(line, texts), *[line("")] * 3), pair.heading)


def _agreement(pair: Pair) -> Iterator[Row]:
    """How far two single runs put the same images together, whatever the labels say."""
    from .unlabelled import agreement, chosen_clusters

    same = pair.a.spec.get("data_fingerprint") == pair.b.spec.get("data_fingerprint") and where(pair.a) == where(pair.b)
    if pair.a.n > 1 or pair.b.n > 1 or not same:
        return
    try:
        one, other = (chosen_clusters(group.records[0].labels()) for group in pair)
    except RecordError:  # kept without label vectors
        return
    if one is not None and other is not None and one.shape == other.shape:
        text = f"ARI {agreement(one, other):.3f}"
        yield Row((line("Agreement of their clusters"), *[line("")] * 2, line(text), *[line("")] * 2), pair.heading)


def _fact(pair: Pair, name: str, a: Spread | None, b: Spread | None, found: Comparison | None) -> dict[str, Any]:
    interval, tested = found and found.interval, found if name == TESTED else None
    known: dict[str, Any] = {"score": name}
    for end, group, spread in (("a", pair.a, a), ("b", pair.b, b)):
        known |= {f"{key}_{end}": group.spec.get(key) for key in ("dataset", "protocol", "method", "preset")}
        known |= {
            f"n_{end}": group.n,
            f"value_{end}": points(spread and spread.mean),
            f"std_{end}": points(spread and spread.std),
        }
    known |= {
        "difference": None if a is None or b is None else points(a.mean - b.mean),
        "low": points(interval and interval.low),
        "high": points(interval and interval.high),
        "p": tested and tested.p,
        "p_holm": tested and tested.p_holm,
        "test": tested and tested.test,
        "why_not": tested and tested.why_not,
    }
    return {key: known[key] for key in FACTS}


def _short(test: Comparison) -> str:
    if test.p is None:
        return "no test"
    p, corrected = (test.p, "") if test.p_holm is None else (test.p_holm, ", Holm")
    return f"{'p < 0.001' if p < 0.001 else f'p = {p:.3f}'} ({test.test}{corrected})"


def _verdict(pair: Pair, test: Comparison) -> str:
    if test.p is None:
        return f"No claim: {test.why_not}."
    which, rest = ("A" if (test.difference or 0) > 0 else "B"), _exact(test)
    if test.significant:
        return f"{which} is better: ACC differs by {100 * abs(test.difference or 0):.1f} points, {_short(test)}{rest}."
    more = more_seeds(*pair)
    advice = f"about {more} more seeds of each might" if more else "no sensible number of seeds would"
    return f"Not told apart: {_short(test)}{rest}; {advice}."


def _exact(test: Comparison) -> str:
    if test.p_exact is None or test.p_least is None:
        return ""
    return f"; without assuming a distribution p = {test.p_exact:.3f}, at least {test.p_least:.3f} with so many seeds"


def _configuration(pair: Pair) -> Iterator[str]:
    about = [{name: group.spec.get(name) for name in ABOUT} for group in pair]
    yield from _lines(differences(*about))
    seeds = [", ".join(str(record.spec.get("seed")) for record in group.records) for group in pair]
    if seeds[0] != seeds[1]:
        yield f"seeds: {seeds[0]}; {seeds[1]}"
    if pair.a.spec["method"] == pair.b.spec["method"]:
        yield from _lines(differences(*(group.spec.get("config") or {} for group in pair)))
    else:
        for end, group in zip("AB", pair, strict=True):
            for name, value in (group.spec.get("overrides") or {}).items():
                yield f"changed in {end}: {name}={shown(value)}"


def _environment(pair: Pair) -> Iterator[str]:
    yield from _lines(differences(*(_values(group, _own_environment) for group in pair)))


def _data(pair: Pair) -> Iterator[str]:
    about = [{name: group.spec[name] for name in ("dataset", "protocol")} for group in pair]
    known = [_values(group, lambda record: record.provenance.get("data") or {}) for group in pair]
    yield from _lines(differences(about[0] | known[0], about[1] | known[1]))


def _beside(pair: Pair) -> Iterator[str]:
    for end, group in zip("AB", pair, strict=True):
        yield from (f"{end}: {text}" for text in deviations(group))


def _own_environment(record: Record) -> Mapping[str, Any]:
    return {name: value for name, value in record.provenance.items() if name not in NOT_ENVIRONMENT}


def _values(group: Group, known_of: Callable[[Record], Mapping[str, Any]]) -> dict[str, str]:
    """Provenance by dotted name; the values of all the seeds where they are not one."""
    each = [flat(known_of(record)) for record in group.records]
    names = dict.fromkeys(name for known in each for name in known)
    return {name: " | ".join(dict.fromkeys(shown(known.get(name, ABSENT)) for known in each)) for name in names}


def _lines(found: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield from (f"{name}: {a}; {b}" for name, a, b in found)


def _merged(pairs: Sequence[Pair], told: Callable[[Pair], Iterable[str]]) -> Iterator[str]:
    """The lines of every pair, each once, with the names of its pairs where it is not of all of them."""
    places = [where(pair.a) for pair in pairs]
    of: dict[str, list[str]] = {}
    for pair, place in zip(pairs, places, strict=True):
        for text in dict.fromkeys(told(pair)):
            of.setdefault(text, []).append(place if places.count(place) == 1 else pair.heading)
    for text, headings in of.items():
        yield text if len(headings) == len(pairs) else f"{' / '.join(headings)}: {text}"
