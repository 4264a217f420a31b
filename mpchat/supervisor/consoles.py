"""The console of a service that needs one, for operators or for its config service; one at a time.

Rules. Nothing else depends on it: a console that ends, is stuck, or does not read what it is told is
replaced with backoff, and that is all. Its listening socket belongs to the supervisor, so whoever comes
between two consoles waits. A restart replaces it once all slots have moved. What has happened before it
was there it is told when it is ready.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.metrics.memory import Memory
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.scoreboard.service import CONSOLE_STATES
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.heartbeats import Beat
from mpchat.supervisor.log import Log
from mpchat.supervisor.memories import Memories
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.succession import Succession
from mpchat.supervisor.timing import Timing
from mpchat.supervisor.vigil import Vigil
from mpchat.supervisor.words import LastWords

_EVENTS = 100
"""Events that a new console is told."""
_EVENT_CHARACTERS = 2000
"""Of one event: some lines of a traceback, and little enough to fit into the channel."""


class Consoles:
    """Starts consoles, tells them what happens, and replaces those that have ended."""

    def __init__(
        self,
        timing: Timing,
        log: Log,
        scoreboard: Scoreboard,
        family: Family,
        forks: Forks,
        editions: Editions,
        sockets: Sockets,
        announcer: Announcer,
        memories: Memories,
        now: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._timing = timing
        self._log = log
        self._scoreboard = scoreboard
        self._family = family
        self._forks = forks
        self._editions = editions
        self._sockets = sockets
        self._announcer = announcer
        self._memories = memories
        self._wall_clock = wall_clock
        self._succession = Succession(timing, now)
        self._vigil = Vigil(timing, log, self._beat)
        self._last_words = LastWords(timing.last_words_limit)
        self._events: deque[messages.Event] = deque(maxlen=_EVENTS)
        self._started = 0
        self._told: object = None
        """What the present console was told of the dynamic config"""
        self._given: tuple[Memory, ...] | None = None
        """The memories of metrics that the present console reads"""
        self._tell_at = 0.0
        """Not before then: the system refused the last try"""

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        console = self._console()
        if console is None:
            return self._succession.start_at if self._is_wanted() else None
        if not console.open:
            return None
        due = self._vigil.due(console, self._succession.since)
        return min(due, self._tell_at) if self._owes(console) else due

    def tick(self, now: float) -> None:
        """Start a console if it is time, or see how the present one is and what it has to know."""
        console = self._console()
        if console is None:
            if self._is_wanted() and self._succession.is_due(now):
                self._start(now)
        elif console.open:
            hang_timeout = self._editions.current.plan.hang_timeout
            reason = self._vigil.look(console, self._succession.since, hang_timeout, now)
            if reason:
                console.end(reason)
            elif self._owes(console) and self._tell_at <= now:
                self._tell(console, now)
        self._show()

    def note(self, level: str, text: str) -> None:
        """Pass on what the supervisor's log says; called for each line, so it logs nothing itself."""
        if self._sockets.console is None:
            return
        event = messages.Event(self._wall_clock(), level, text[:_EVENT_CHARACTERS])
        self._events.append(event)
        console = self._console()
        if console is not None and console.ready:
            console.send(event)

    def became_ready(self, console: Child) -> None:
        """It serves: tell it what has happened."""
        # It is sent nothing before it is ready, so this line goes with the others, in their order.
        self._log.info(f"the console is ready, pid {console.pid}")
        console.ready = True
        for event in self._events:
            console.send(event)

    def ended(self, console: Child, how: str, now: float) -> None:
        """Its process is gone: start another one."""
        words = console.last_words()
        asked = self._vigil.kill_at is not None and not console.kill_reason
        self._vigil.ended()
        self._told = self._given = None
        reason = f": {console.kill_reason}" if console.kill_reason else ""
        text = f"the console pid {console.pid}: {how}{reason}"
        if asked:
            self._log.info(text)
            self._succession.start_at = now
        else:
            said = self._last_words.to_log(console.pid, words, now)
            self._log.error(f"{text}; starting another{said}")
            self._succession.ended(now)

    def follow_edition(self, now: float) -> None:
        """A restart is over, whatever came of it: replace a console of another edition."""
        console, edition = self._console(), self._editions.edition
        # One whose fork is still to be asked for has no edition yet, and will be of this one.
        if console is None or console.edition in {0, edition} or self._vigil.kill_at is not None:
            return
        console.send(messages.Stop())
        self._vigil.kill_at = now + self._timing.now_limit

    def _console(self) -> Child | None:
        return self._family.of(Role.CONSOLE)

    def _is_wanted(self) -> bool:
        follows = self._editions.current.plan.config_service is not None
        return self._sockets.console is not None or follows

    def _beat(self) -> Beat:
        read = self._scoreboard.service
        return Beat(read("console_heartbeat"), read("console_beat_at") / 1000)

    def _start(self, now: float) -> None:
        try:
            console = self._forks.request_console(self._sockets)
        except OSError as error:
            self._succession.failed(now)
            text = f"the system refuses what a console needs: {describe_os_error(error)}"
            self._log.error(text)
            return
        self._started += 1
        self._family.add(console)
        self._succession.started(now)
        # It finds them when it begins.
        self._tell(console, now)
        self._forks.flush()

    def _state_of_config(self) -> object:
        return self._editions.generation, dict(self._announcer.failures)

    def _counting(self) -> tuple[Memory, ...]:
        return self._memories.counting(self._editions.edition)

    def _owes(self, console: Child) -> bool:
        if self._given != self._counting():
            return True
        return console.ready and self._told != self._state_of_config()

    def _tell(self, console: Child, now: float) -> None:
        """Tell what the console does not know yet, as far as the system allows now."""
        memories, state = self._counting(), self._state_of_config()
        try:
            if self._given != memories:
                descriptors = tuple(memory.descriptor for memory in memories)
                console.send(messages.MetricsMemories(), descriptors)
                self._given = memories
            if console.ready and self._told != state:
                generation = self._editions.current.generation
                descriptors = (generation.memfd, generation.certificates)
                console.send(self._announcer.in_force(), descriptors)
                self._told = state
        except OSError as error:
            self._log.error(f"cannot tell the console what is new: {error.strerror}")
            self._tell_at = now + self._timing.max_backoff

    def _show(self) -> None:
        """Store what status shows of the console."""
        console, board = self._console(), self._scoreboard
        state = "down" if self._is_wanted() else "none"
        if console is not None:
            state = "ready" if console.ready and console.open else "starting"
        board.set_service("console_state", CONSOLE_STATES.index(state))
        board.set_service("console_pid", console.pid if console is not None else 0)
        board.set_service("console_restarts", max(0, self._started - 1))
