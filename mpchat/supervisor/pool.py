"""The workers: carries out what the policy decides, and reports to it what happens.

Rules. The pool decides nothing itself. The policy knows a worker by its number, the family as a child.
"""

from __future__ import annotations

import math
import signal
from collections import deque
from collections.abc import Iterable

from mpchat.errors import ExitCode, StartError
from mpchat.ipc import messages
from mpchat.scoreboard.scoreboard import SLOTS, Scoreboard
from mpchat.supervisor.adoption import Adoption, Change, Helper
from mpchat.supervisor.board import show_slots
from mpchat.supervisor.child import Child
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.forks import Forks
from mpchat.supervisor.heartbeats import Beat, Heartbeats
from mpchat.supervisor.log import Log, say
from mpchat.supervisor.memories import Memories
from mpchat.supervisor.policy import Policy
from mpchat.supervisor.reload import Asker
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.states import (
    Abort,
    Action,
    Announce,
    Event,
    Exit,
    Kill,
    NotRenewed,
    Retire,
    Spawn,
    State,
    StopWorker,
)
from mpchat.supervisor.timing import Timing
from mpchat.supervisor.words import LastWords


class Pool:
    """All workers of a service.

    Attributes:
        policy: Decides about workers; only the pool may change it.
        is_up: Whether every slot serves, or has failed often enough not to be waited for.
        exit_code: The service's exit code, once there is nothing left to wait for; else None.
    """

    def __init__(
        self,
        editions: Editions,
        sockets: Sockets,
        timing: Timing,
        log: Log,
        scoreboard: Scoreboard,
        family: Family,
        forks: Forks,
        memories: Memories,
    ) -> None:
        workers = editions.current.plan.workers
        self.policy = Policy(workers, timing, editions)
        self.is_up = False
        self.exit_code: int | None = None
        self._editions = editions
        self._sockets = sockets
        self._timing = timing
        self._log = log
        self._scoreboard = scoreboard
        self._children = family.workers
        self._forks = forks
        self._memories = memories
        self._heartbeats = Heartbeats(timing.help)
        self._adoption = Adoption()
        self._last_words = LastWords(timing.last_words_limit)
        self._last_end = ""
        self._failures: dict[int, str] = {}
        self._adopt_at = 0.0
        self._scaling: list[Asker] = []
        self._exit: Exit | None = None
        self._scoreboard.set_service("slots", workers)

    def start(self, now: float) -> None:
        """Ask for the first workers."""
        self._do(self.policy.start(now), now)

    def stop(self, now: float, *, at_once: bool) -> None:
        """Ask all workers to end."""
        self._do(self.policy.stop(now, at_once=at_once), now)

    def scale(self, count: int, now: float, *askers: Asker) -> None:
        """Scale to ``count`` workers; askers are called when all are ready, or with why one is not."""
        if not 1 <= count <= SLOTS or self.policy.stopping:
            reason = f"a service has 1 to {SLOTS} workers"
            if self.policy.stopping:
                reason = "the service is stopping"
            self._log.warning(f"not scaled to {count} workers: {reason}")
            _tell(askers, reason)
            return
        try:
            self._sockets.grow(count)
        except StartError as error:
            self._log.error(f"not scaled to {count} workers: {error}")
            _tell(askers, str(error))
            return
        self._log.info(f"scaling from {len(self.policy.wanted())} to {count} workers")
        self._scaling += askers
        self._do(self.policy.scale(count, now), now)
        self._scoreboard.set_service("slots", len(self.policy.pool))

    def renew(self, slot: int, now: float) -> None:
        """Replace the worker of one slot."""
        self._do(self.policy.renew(slot, now), now)

    def renew_all(self, now: float) -> None:
        """Replace every worker that is not of the current edition."""
        self._do(self.policy.renew_all(now), now)

    def take_failures(self) -> dict[int, str]:
        """Return the slots whose new worker did not start since the last call, and why."""
        failures, self._failures = self._failures, {}
        return failures

    def tick(self, now: float) -> None:
        """Carry out what has come due, find helpers for slots without a worker, and show all states."""
        self._do(self.policy.tick(now), now)
        if now >= self._heartbeats.next_look:
            self._look(now)
            self._tell_inboxes()
        if now >= self._adopt_at:
            self._adopt(now)
        show_slots(self._scoreboard, self.policy, self._children, self._adoption)
        # After that: who has the answer may ask for the status at once.
        self._answer_scaling()
        if self._exit is not None:
            # Here, and not where it was decided: the ends of others in the same turn are logged before.
            self.exit_code = self._last_code(failed=self._exit.failed)

    def next_due(self) -> float:
        """Return when ``tick`` has something to do."""
        due = self.policy.next_due()
        return min(self._heartbeats.next_look, due if due is not None else math.inf)

    def _look(self, now: float) -> None:
        """Check whose event loop still turns."""
        beats = {
            worker.number: self._beat(worker)
            for worker in self._children.values()
            if worker.ready and worker.open
        }
        self._heartbeats.look(beats, now)
        for number in beats:
            if self._heartbeats.stale(number) >= self._editions.current.plan.hang_timeout:
                self._tell_policy(Event.HUNG, self._children[number], now)

    def _beat(self, worker: Child) -> Beat:
        read, slot, row = self._scoreboard.read, worker.slot, worker.row
        return Beat(read(slot, row, "heartbeat"), read(slot, row, "beat_at") / 1000)

    def _adopt(self, now: float) -> None:
        """Let siblings accept for slots whose own worker cannot."""
        listeners = self._sockets.listeners
        if not self.is_up or self.policy.stopping:
            return
        helpers = [
            Helper(worker.number, worker.slot)
            for worker in self.policy.workers.values()
            if worker.state is State.READY
            and self._heartbeats.stale(worker.number) < self._timing.help
        ]
        slots = len(listeners.sockets)
        needy = set(range(slots)) - {helper.slot for helper in helpers}
        for change in self._adoption.assign(needy, helpers, slots):
            try:
                self._tell_helper(change)
            except OSError as error:
                self._log.error(f"cannot have slot {change.slot} helped: {error.strerror}")
                self._adoption.refused(change.worker, change.slot)
                self._adopt_at = now + self._timing.first_backoff

    def _tell_helper(self, change: Change) -> None:
        helper = self._children.get(change.worker)
        if helper is None:
            return
        pool, who = self._editions.current.plan.pool, f"{helper.name} pid {helper.pid}"
        if change.begins:
            sources = [self._sockets.inboxes.of(change.slot).fileno()]
            if not self._sockets.listeners.shared:
                sources.insert(0, self._sockets.listeners.sockets[change.slot].fileno())
            helper.send(messages.Adopt(change.slot), tuple(sources))
            self._log.info(f"{who} accepts for {pool}/{change.slot}, too")
        else:
            self._log.info(f"{who} accepts no longer for {pool}/{change.slot}")
            helper.send(messages.GiveBack(change.slot))

    def _tell_inboxes(self) -> None:
        """Send every worker the inboxes that it does not have yet, as far as the system allows now."""
        for worker in self._children.values():
            if not (worker.ready and worker.open):
                continue
            try:
                self._sockets.inboxes.tell(worker)
            except OSError as error:
                # Until the next try the worker keeps what it accepts.
                text = f"cannot tell {worker.name} pid {worker.pid} all inboxes"
                self._log.error(f"{text}: {error.strerror}")
                return

    def is_healthy(self) -> bool:
        """Whether no worker has been stuck for longer than its replacement takes."""
        limit = self._editions.current.plan.hang_timeout + self._timing.recovery
        return self._heartbeats.longest() <= limit

    def _answer_scaling(self) -> None:
        if not self._scaling:
            return
        wanted = [(index, slot) for index, slot in enumerate(self.policy.pool) if slot.wanted]
        unready = [(i, slot) for i, slot in wanted if slot.current_state() is not State.READY]
        failed = [index for index, slot in unready if slot.failed_starts]
        if not unready or failed or self.policy.stopping:
            askers, self._scaling = self._scaling, []
            text = ""
            if failed:
                name = f"{self._editions.current.plan.pool}/{failed[0]}"
                text = f"{name} does not start, and is tried again; the last one said:\n{self._last_end}"
            elif self.policy.stopping:
                text = "the service is stopping"
            _tell(askers, text)

    # What happens to a worker

    def became_ready(self, worker: Child, now: float) -> None:
        """A worker serves clients."""
        self._log.info(f"{worker.name} is ready, pid {worker.pid}")
        self._tell_policy(Event.READY, worker, now)
        # All workers: this one may be the first of its slot.
        self._tell_inboxes()

    def retires(self, worker: Child, now: float) -> None:
        """A worker takes no more clients: we retired it, or it got SIGTERM."""
        if self.policy.workers[worker.number].state is not State.RETIRING:
            self._log.info(f"{worker.name} pid {worker.pid} was asked to end: replacing it")
        self._tell_policy(Event.RETIRING, worker, now)

    def adoption_failed(self, worker: Child, slot: int) -> None:
        """A worker could not take another slot's socket; the next tick asks another worker."""
        self._log.warning(f"{worker.name} pid {worker.pid} could not accept for slot {slot}")
        self._adoption.refused(worker.number, slot)

    def ended(self, worker: Child, how: str, now: float) -> None:
        """A worker's process is gone."""
        words = worker.last_words()
        del self._children[worker.number]
        self._scoreboard.zero_gauges(worker.slot, worker.row)
        self._memories.ended(worker)
        reason = f": {worker.kill_reason}" if worker.kill_reason else ""
        text = f"{worker.name} pid {worker.pid}: {how}{reason}"
        self._last_end = f"{text}\n{words}" if words else text
        text += self._last_words.to_log(worker.pid, words, now)
        (self._log.info if worker.status == 0 else self._log.error)(text)
        self._tell_policy(Event.GONE, worker, now)

    # Actions

    def _tell_policy(self, event: Event, worker: Child, now: float) -> None:
        self._do(self.policy.on(event, worker.number, now), now)

    def _do(self, actions: list[Action], now: float) -> None:
        waiting = deque(actions)
        while waiting:
            action = waiting.popleft()
            match action:
                case Spawn():
                    waiting += self._spawn(action, now)
                case Retire():
                    self._retire(self._children[action.worker])
                case StopWorker():
                    self._children[action.worker].send(messages.Stop(action.now))
                case Abort():
                    self._abort(self._children[action.worker])
                case Kill():
                    self._kill(self._children[action.worker], action.reason)
                case NotRenewed():
                    self._failures[action.slot] = self._last_end
                case Announce():
                    self.is_up = True
                case Exit():
                    self._exit = action

    def _spawn(self, action: Spawn, now: float) -> list[Action]:
        """Ask for a worker; return what follows where the system refuses one."""
        name = f"worker {self._editions.current.plan.pool}/{action.slot}"
        listening = self._sockets.listeners.sockets[action.slot]
        inbox = self._sockets.inboxes.of(action.slot)
        try:
            self._children[action.worker] = self._forks.request_worker(
                name, action.worker, action.slot, action.row, listening, inbox
            )
        except OSError as error:
            self._last_end = f"{name} cannot be started: {error.strerror}"
            self._log.error(self._last_end)
            return self.policy.on(Event.GONE, action.worker, now)
        self._forks.flush()
        return []

    def _retire(self, worker: Child) -> None:
        self._log.info(f"{worker.name} pid {worker.pid} is retired: its connections are drained")
        worker.send(messages.Retire())

    def _abort(self, worker: Child) -> None:
        seconds = self._heartbeats.stale(worker.number)
        self._log.error(
            f"{worker.name} pid {worker.pid} is stuck: its event loop has not turned for "
            f"{seconds:.1f} s; it is ended, its stack follows"
        )
        self._signal(worker, signal.SIGABRT)

    def _kill(self, worker: Child, reason: str) -> None:
        self._log.warning(f"{worker.name} pid {worker.pid} is killed: {reason}")
        # A worker that is not forked yet ends by itself when its channel is closed.
        worker.end(reason)

    def _signal(self, worker: Child, number: signal.Signals) -> None:
        try:
            worker.kill(number)
        except OSError as error:
            # It is killed when it has not ended in time.
            self._log.error(f"cannot signal {worker.name} pid {worker.pid}: {error.strerror}")

    def _last_code(self, *, failed: bool) -> ExitCode:
        if not failed:
            return ExitCode.OK
        tries = self._timing.start_failures
        said = self._last_words.latest or self._last_end or "nothing"
        if self._editions.current.plan.log_path == "@stderr":
            # The log has shown the traceback, and whoever reads this has seen it.
            said = said.rpartition("\n")[2]
        say(f"mpchat: no worker could start ({tries} tries each); the last one said:")
        say(said)
        return ExitCode.SOFTWARE


def _tell(askers: Iterable[Asker], text: str) -> None:
    for asker in askers:
        asker(text)
