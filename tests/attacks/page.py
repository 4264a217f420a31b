"""docs/attacks.md, printed from what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from tests.attacks.attack import FULL, WORKERS, Outcome, Scale
from tests.attacks.kinds import Attack
from tests.chaos.page import here

_HEAD = """\
<!-- Printed by `make attack`. Edit tests/attacks, not this page. -->

# Attacks

{attackers} attackers beside {honest} honest clients, on one machine with the {workers} workers that they
share. An attacker that was turned away or ended comes back after 1.5 to 4.5 seconds. Honest clients
send a message of 32 bytes ten times a second and wait for its echo: for {seconds:g} seconds alone; while
the attackers are at another service of the same machine, with the same config; while they are here; and
when they are gone. So many clients take much of a small machine from everybody who works on it: that is
told by the second of these phases. What is added when they turn to this service is what it lets them do.

Bars: no honest client is cut off or misses an answer; at p99 an answer takes at most twice as long when
the attackers are here as when they are elsewhere ("times"; or 1 ms); memory stays within what the
options promise for each attacker; sockets, descriptors and memory are back afterwards, but for 16 MiB
that each worker keeps for its next messages. Memory is that of both workers, what they share included.
Options that are not named have their defaults.

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
