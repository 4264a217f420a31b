"""What the config service says: the layer in force, one that is tried, and the first one.

Rules. The console asks the service; what it passes on is a child's word: a sealed file of a bounded size,
whose content the template checks like any config. One layer at a time is tried, by a reload of its own,
so that a mistake in it fails nobody else's. The workers of a new service wait for the first answer.
"""

from __future__ import annotations

from mpchat.errors import ExitCode
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.memfd import check_sealed_memfd, read_memfd
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.reload import Asker
from mpchat.supervisor.timing import Timing

_MAX_BYTES = 32 * 1024 * 1024
"""Of a layer: more than the largest answer of a config service that a console takes"""


class ConfigService:
    """The layer of the dynamic config that comes from a config service.

    Attributes:
        awaited: Whether the workers of a new service wait for the first answer.
        exit_code: Set if a service cannot start without one; else None.
        layer: A memfd with what is in force, None before the first answer.
    """

    def __init__(self, timing: Timing, log: Log, editions: Editions, announcer: Announcer) -> None:
        self.awaited = False
        self.exit_code: int | None = None
        self.layer: int | None = None
        self._timing = timing
        self._log = log
        self._editions = editions
        self._announcer = announcer
        self._limit_at = 0.0
        self._deaths = 0
        """Consoles that have ended while the first answer was awaited"""
        self._offered: tuple[int, Asker] | None = None
        """A layer that waits for its reload"""
        self._tried: tuple[int, Asker] | None = None

    # The first answer

    def begin(self, now: float) -> None:
        """Await the first answer, if the service follows a config service."""
        plan = self._editions.current.plan.config_service
        if plan is not None:
            self.awaited = True
            self._limit_at = now + self._timing.start_limit + plan["first_limit"]

    def due(self) -> float | None:
        """Return when ``tick`` has something to do."""
        return self._limit_at if self.awaited else None

    def tick(self, now: float) -> None:
        """Await the first answer no longer than it can take."""
        if self.awaited and now >= self._limit_at:
            self.failed("the console has not said in time what the config service answers")

    def console_ended(self, how: str) -> None:
        """The console is gone, perhaps before it could fetch anything."""
        if self.awaited:
            self._deaths += 1
            if self._deaths >= self._timing.start_failures:
                self.failed(f"the console has ended {self._deaths} times: {how}")

    # What the console says

    def failed(self, text: str) -> None:
        """An update has failed; what is in force stays."""
        self._announcer.updated(text)
        if not self.awaited:
            return
        plan = self._editions.current.plan.config_service
        if plan is not None and not plan["has_values"]:
            say(f"mpchat: {text}")
            say(
                "mpchat: there is no dynamic config to start with instead: neither a file of "
                "dynamic-config.fs-cache-path nor values of dynamic-config or dynamic-config-fallbacks"
            )
            self.exit_code = ExitCode.UNAVAILABLE
            return
        self._log.warning(f"starting with the dynamic config that is there: {text}")
        self.awaited = False

    def confirmed(self) -> None:
        """The service answers, and wants nothing changed."""
        self._announcer.updated(None)
        self.awaited = False

    def offer(self, descriptor: int, asker: Asker) -> str:
        """Try this layer as soon as no other reload is under way; return why not, or nothing.

        The descriptor stays the caller's.
        """
        if self._editions.current.plan.config_service is None:
            return "this service follows no config service"
        try:
            check_sealed_memfd(descriptor, _MAX_BYTES)
            if self._is_in_force(descriptor):
                # A new console asks for everything, and most often nothing has changed.
                self.confirmed()
                asker("")
                return ""
            memfd = system.dup(descriptor)
        except (ValueError, OSError) as error:
            return f"what the console passes on cannot be used: {error}"
        if self._offered is not None:
            older, older_asker = self._offered
            fds.close(older)
            older_asker("a newer answer of the config service has come")
        self._offered = memfd, asker
        return ""

    def _is_in_force(self, descriptor: int) -> bool:
        """Whether nothing would change; any other word that waits would be older."""
        if self.layer is None or self._offered is not None or self._tried is not None:
            return False
        return read_memfd(descriptor) == read_memfd(self.layer)

    # For reloads

    @property
    def has_offer(self) -> bool:
        """Whether a layer waits for its reload."""
        return self._offered is not None

    @property
    def is_tried(self) -> bool:
        """Whether a layer is tried now."""
        return self._tried is not None

    def begin_trial(self) -> None:
        """The next reload tries the layer that waits."""
        assert self._tried is None
        self._tried, self._offered = self._offered, None

    def to_load(self) -> tuple[int, ...]:
        """Return the memfd that the template is to load: of the layer that is tried or in force."""
        layer = self._tried[0] if self._tried is not None else self.layer
        follows = self._editions.current.plan.config_service is not None
        return (layer,) if layer is not None and follows else ()

    def installed(self) -> None:
        """The reload that is under way has made a generation."""
        if self._tried is not None:
            older, self.layer = self.layer, self._tried[0]
            if older is not None:
                fds.close(older)

    def end_trial(self, reason: str) -> None:
        """The reload has ended: tell the console what became of the layer."""
        if self._tried is None:
            return
        (memfd, asker), self._tried = self._tried, None
        if memfd == self.layer:
            # Workers that have not confirmed it yet are given it until they do.
            reason = ""
            self.confirmed()
        else:
            fds.close(memfd)
            self.failed(f"what the config service says was not applied: {reason}")
        asker(reason)

    def close(self) -> None:
        """Close the memfds."""
        held = [self.layer, *(one[0] for one in (self._offered, self._tried) if one is not None)]
        fds.close_all({memfd for memfd in held if memfd is not None})
