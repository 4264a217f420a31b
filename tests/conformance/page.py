"""From outcomes to docs/conformance.md: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tests.conformance.suite import BEHAVIORS, FINE, Outcome

NOTE = "<!-- Printed by `make conformance`. -->\n"
GROUPS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragments",
    6: "UTF-8",
    7: "Closing",
    9: "Limits and performance",
    10: "Fragments of the server's choice",
    12: "Compression, by payload",
    13: "Compression, by parameters",
}
TIMED = (9, 12, 13)
"""Groups that send a thousand messages, or large ones, and are to be done in time."""


def page(
    outcomes: Sequence[Outcome],
    by_tls: Sequence[Outcome],
    introduction: str,
    versions: Mapping[str, str],
) -> str:
    """Return the whole page; ``by_tls`` are the outcomes of the same cases through TLS."""
    lines = [NOTE, "# Conformance", "", introduction, ""]
    lines += [
        "Versions: " + ", ".join(f"{name} {text}" for name, text in versions.items()) + ".",
        "",
    ]
    lines += ["## By group", "", *table(outcomes), ""]
    lines += ["## Every case that is not simply OK", "", *exceptions(outcomes), ""]
    lines += ["## Through TLS", "", *differences(outcomes, by_tls), ""]
    lines += ["## Time", "", *times(outcomes), ""]
    return "\n".join(lines)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return counts of behaviours by group; a wrong end and whatever is unknown count as FAILED."""
    lines = [f"| Group | Cases | {' | '.join(BEHAVIORS)} |", "| --- |" + " ---: |" * 6]
    for number, name in GROUPS.items():
        of_group = [outcome for outcome in outcomes if outcome.order[0] == number]
        lines.append(_row(f"{number} {name}", of_group))
    return [*lines, _row("all", outcomes)]


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    counts = dict.fromkeys(BEHAVIORS, 0)
    for outcome in outcomes:
        known = outcome.behavior in counts and outcome.close in FINE
        counts[outcome.behavior if known else "FAILED"] += 1
    cells = [str(len(outcomes)), *(str(count) for count in counts.values())]
    return f"| {name} | {' | '.join(cells)} |"


def exceptions(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a row for each case whose verdict is not OK."""
    rows = [
        f"| {outcome.case} | {outcome.behavior} | {outcome.close} | {outcome.asked} |"
        for outcome in outcomes
        if (outcome.behavior, outcome.close) != ("OK", "OK")
    ]
    if not rows:
        return ["There is none."]
    return ["| Case | Behaviour | Close | The case |", "| --- | --- | --- | --- |", *rows]


def differences(plain: Sequence[Outcome], by_tls: Sequence[Outcome]) -> list[str]:
    """Return a row for each case that has another verdict through TLS, or is missing there."""
    verdicts = {outcome.case: (outcome.behavior, outcome.close) for outcome in plain}
    others = {outcome.case: (outcome.behavior, outcome.close) for outcome in by_tls}
    if verdicts == others:
        return [f"All {len(others)} cases have the same verdicts through TLS 1.3."]
    rows = [
        f"| {case} | {', '.join(verdicts.get(case, ['not run']))} "
        f"| {', '.join(others.get(case, ['not run']))} |"
        for case in {**verdicts, **others}
        if verdicts.get(case) != others.get(case)
    ]
    return ["| Case | Plain | Through TLS 1.3 |", "| --- | --- | --- |", *rows]


def times(outcomes: Sequence[Outcome]) -> list[str]:
    """Return how long the cases of the timed groups took, by subgroup."""
    lines = ["| Cases | Number | Median, ms | Longest, ms |", "| --- | ---: | ---: | ---: |"]
    subgroups: dict[tuple[int, ...], list[int]] = {}
    for outcome in outcomes:
        if outcome.order[0] in TIMED:
            subgroups.setdefault(outcome.order[:2], []).append(outcome.milliseconds)
    for key, found in subgroups.items():
        name = ".".join(str(part) for part in key)
        lines.append(f"| {name} | {len(found)} | {median(found):.0f} | {max(found)} |")
    return lines
