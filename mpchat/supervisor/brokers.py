"""The broker of a service with rooms: one at a time, since its history has one writer.

Rules. The next broker is asked for when the last one's process is gone, never before: the history file is
the only thing that passes from one to the other. A broker that ends is replaced as workers are, with
backoff; one whose loop stands still is ended like a stuck worker. A restart replaces it before the slots,
and again by the old code if it fails. It ends with the service, after the workers.
"""

from __future__ import annotations

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.scoreboard.broker import BROKER_STATES
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.heartbeats import Beat
from mpchat.supervisor.history import Histories
from mpchat.supervisor.log import Log
from mpchat.supervisor.succession import Succession
from mpchat.supervisor.timing import Timing
from mpchat.supervisor.vigil import Vigil
from mpchat.supervisor.words import LastWords

_MIB = 1024 * 1024


class Brokers:
    """Starts brokers, ends those that are stuck, and replaces those that have ended.

    Attributes:
        renewal: How the last ``renew`` has ended: the reason why it failed, or an empty text; None
            while it is under way.
    """

    def __init__(
        self,
        timing: Timing,
        log: Log,
        scoreboard: Scoreboard,
        family: Family,
        forks: Forks,
        editions: Editions,
        histories: Histories,
        now: float,
    ) -> None:
        self.renewal: str | None = ""
        self._timing = timing
        self._log = log
        self._scoreboard = scoreboard
        self._family = family
        self._forks = forks
        self._editions = editions
        self._histories = histories
        self._vigil = Vigil(timing, log, self._beat)
        self._last_words = LastWords(timing.last_words_limit)
        self._succession = Succession(timing, now)
        self._last = 0
        """Number of the last broker that was asked for"""
        self._size: int | None = None
        """Bytes of its history"""
        self._awaited = 0
        """Lowest number of a broker that satisfies the last ``renew``"""
        self._asked_to_end = False

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        broker = self._broker()
        if broker is None:
            return self._succession.start_at if self._is_wanted() else None
        return self._vigil.due(broker, self._succession.since) if broker.open else None

    def tick(self, now: float) -> None:
        """Start a broker if it is time, or see how the present one is."""
        broker = self._broker()
        if broker is None:
            if self._is_wanted() and self._succession.is_due(now):
                self._start(now)
        elif broker.open:
            hang_timeout = self._editions.current.plan.hang_timeout
            reason = self._vigil.look(broker, self._succession.since, hang_timeout, now)
            if reason:
                self._kill(broker, reason, now)
        self._show()

    def became_ready(self, broker: Child) -> None:
        """It has read the history and serves."""
        self._log.info(f"the broker is ready, pid {broker.pid}")
        if self._is_awaited(broker):
            self.renewal = ""

    def ended(self, broker: Child, how: str, now: float) -> None:
        """Its process is gone: start another one."""
        words = broker.last_words()
        reason = f": {broker.kill_reason}" if broker.kill_reason else ""
        text = f"the broker pid {broker.pid}: {how}{reason}"
        self._scoreboard.zero_broker()
        self._vigil.ended()
        if self._asked_to_end:
            self._log.info(text)
            self._succession.start_at = now
        else:
            self._log.error(text + self._last_words.to_log(broker.pid, words, now))
            self._succession.ended(now)
        self._asked_to_end = False
        if self._is_awaited(broker):
            said = f"\n{words}" if words else ""
            self.renewal = f"the new broker: {how}{reason}{said}"

    # For a restart

    def renew(self, now: float) -> None:
        """Have the broker replaced by one of the current edition; ``renewal`` tells the outcome."""
        self._awaited, self.renewal = self._last + 1, None
        size = self._editions.current.plan.history
        if self._size is not None and size != self._size:
            old, new = self._size / _MIB, (size or 0) / _MIB
            self._log.warning(
                f"history-memory is {new:g} MiB now, and was {old:g}: the rooms' history begins anew"
            )
        self._succession.hurry(now)
        self._ask_to_end(now)

    def revert(self, now: float) -> None:
        """Go back to a broker of the edition that is current again, if it has rooms."""
        broker = self._broker()
        if broker is not None and broker.edition != self._editions.edition:
            self._ask_to_end(now)
        self.renewal = ""
        self._succession.hurry(now)
        self._histories.keep_only(self._editions.current.plan.history)

    def settle(self, now: float) -> None:
        """The last restart's edition stays: keep no history of another, and no broker without rooms."""
        if not self._is_wanted():
            self._ask_to_end(now)
        self._histories.keep_only(self._editions.current.plan.history)

    # Steps

    def _broker(self) -> Child | None:
        return self._family.of(Role.BROKER)

    def _is_wanted(self) -> bool:
        return self._editions.current.plan.history is not None

    def _is_awaited(self, broker: Child) -> bool:
        return self.renewal is None and broker.number >= self._awaited

    def _beat(self) -> Beat:
        read = self._scoreboard.broker
        return Beat(read("heartbeat"), read("beat_at") / 1000)

    def _start(self, now: float) -> None:
        self._size = size = self._editions.current.plan.history
        try:
            broker = self._forks.request_broker(self._last + 1, self._histories.of(size))
        except OSError as error:
            self._succession.failed(now)
            text = f"the system refuses what a broker needs: {describe_os_error(error)}"
            self._log.error(text)
            if self.renewal is None:
                self.renewal = text
            return
        self._last = broker.number
        self._family.add(broker)
        self._succession.started(now)
        self._forks.flush()

    def _ask_to_end(self, now: float) -> None:
        """Let the present broker end, if there is one; ``ended`` has the next one started."""
        broker = self._broker()
        if broker is None or self._asked_to_end:
            return
        self._asked_to_end = True
        if self._forks.forget(broker):
            broker.end("it is not needed any more")
            return
        broker.send(messages.Stop())
        self._vigil.kill_at = now + self._timing.now_limit

    def _kill(self, broker: Child, reason: str, now: float) -> None:
        """Kill a broker, unless it may just begin: two would write the same history."""
        if broker.pid or self._forks.forget(broker):
            self._vigil.kill_at = None
            broker.end(reason)
        else:
            # It says its pid soon, or its channel ends with the template that was to fork it.
            broker.kill_reason = reason
            self._vigil.kill_at = now + self._timing.now_limit

    def _show(self) -> None:
        """Store what status shows of the broker."""
        broker, board = self._broker(), self._scoreboard
        state = "down" if self._is_wanted() else "none"
        if broker is not None:
            state = "ready" if broker.ready and broker.open else "starting"
        board.set_broker("state", BROKER_STATES.index(state))
        board.set_broker("pid", broker.pid if broker is not None else 0)
        board.set_broker("since", int(self._succession.since * 1000) if broker is not None else 0)
        board.set_broker("restarts", max(0, self._last - 1))
