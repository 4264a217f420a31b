"""docs/attacks.md, printed from what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from tests.attacks.attack import FULL, WORKERS, Outcome, Scale
from tests.attacks.kinds import Attack
from tests.chaos.page import here

_HEAD = """\
<!-- Printed by `make attack`. Edit tests/attacks, not this page. -->

# Attacks

{attackers} attackers and {honest} honest clients share one machine and the {workers} workers of a
service. An attacker that was turned away or ended comes back after 1.5 to 4.5 seconds. Honest
clients send a message of 32 bytes ten times a second and wait for its echo, in four phases:
{seconds:g} seconds alone; with the attackers at another service on the same machine, with the same
config; with the attackers here; and after they have left. The second phase shows how much of a
small machine so many clients take from everybody. The third phase adds only the effect of the
attack on this service.

Bars: no honest client is cut off or misses an answer; at p99 an answer takes at most twice as long
("times") with the attackers here as with the attackers elsewhere, or 1 ms if that is more; memory
stays within the limits of the options for each attacker; afterwards sockets, descriptors and memory
are back, except for 16 MiB that each worker keeps for its next messages. Memory is that of both
workers, shared memory included. Options that are not named have their defaults.

{where}.

| Attack | Options | p99 alone, elsewhere, here, gone | Times | MiB before, highest, after | Ended by | |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page(results: Sequence[tuple[Attack, Outcome]], scale: Scale) -> str:
    """Return the page."""
    text = _HEAD.format(
        attackers=f"{scale.attackers:,}",
        honest=scale.honest,
        workers=WORKERS,
        seconds=scale.seconds,
        where=here("full" if scale is FULL else "short"),
    )
    for attack, outcome in results:
        options = ", ".join(f"`{name}: {value}`" for name, value in attack.options.items())
        if attack.descriptors:
            options += f", {attack.descriptors} descriptors"
        answers, times, memory, ended, _saw = outcome.numbers.values()
        verdict = "; ".join(outcome.failures) or "holds"
        cells = (attack.what, options or "defaults", answers, times, memory, ended, verdict)
        text += f"| {' | '.join(cells)} |\n"
    return text
