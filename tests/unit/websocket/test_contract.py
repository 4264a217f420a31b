"""What ``recv``, ``send`` and iteration promise to the code that awaits them.

Rules. Only what an author can write is used: coroutines, tasks, and asyncio's own tools. Each promise
holds on every Python that the package supports, and for every form of the package.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import socket
import sys
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

import pytest
from websockets.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
)

from mpchat.websocket.connection import WebSocketConnection
from mpchat.websocket.protocol import WebSocketProtocol
from tests.kit.frames import BINARY, CLOSE, FINAL, TEXT, frame
from tests.unit.websocket.rig import Worker, on_uvloop, until

T = TypeVar("T")
Chat = WebSocketConnection

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")


class Fatal(BaseException):
    """An exception that ``except Exception`` does not catch."""


class Talk(Generic[T]):
    """A client that talks with a handler.

    Attributes:
        ended: What the handler has returned or raised.
    """

    def __init__(self, worker: Worker) -> None:
        self._loop = worker.loop
        self.ended: asyncio.Future[T] = worker.loop.create_future()
        self.chat: Chat | None = None

    async def start(
        self, worker: Worker, handle: Callable[[Chat], Awaitable[T]], options: dict[str, Any]
    ) -> None:
        async def handle_and_tell(chat: Chat) -> None:
            self.chat = chat
            try:
                result = await handle(chat)
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                self.ended.set_exception(error)
            else:
                self.ended.set_result(result)

        self.client, _protocol = await worker.connect(handle_and_tell, **options)

    async def send(self, *texts: str) -> None:
        """Send messages, in one write."""
        data = b"".join(frame(FINAL | TEXT, text.encode()) for text in texts)
        await self._loop.sock_sendall(self.client, data)

    async def close(self, code: int = 1000) -> None:
        """Send a Close."""
        await self._loop.sock_sendall(self.client, frame(FINAL | CLOSE, code.to_bytes(2)))

    async def receive(self, count: int = 1) -> list[str | bytes]:
        """Return messages of at most 125 bytes."""
        messages: list[str | bytes] = []
        for _ in range(count):
            first, length = await self._read(2)
            payload = await self._read(length)
            messages.append(payload.decode() if first == FINAL | TEXT else payload)
        return messages

    async def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = await self._loop.sock_recv(self.client, size - len(data))
            assert part, "the connection has ended"
            data += part
        return data


async def talk(worker: Worker, handle: Callable[[Chat], Awaitable[T]], **options: Any) -> Talk[T]:
    """Connect a client to a handler."""
    made: Talk[T] = Talk(worker)
    await made.start(worker, handle, options)
    return made


async def settle() -> None:
    """Let tasks that can run do so, and reach their next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


# Cancellation and timeouts


@on_uvloop
async def test_a_cancelled_recv_loses_no_message(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[object]:
        waiting = asyncio.create_task(chat.recv())
        await settle()
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await waiting
        await chat.send("now")
        return [await chat.recv(), await chat.recv()]

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("a", "b")
    assert await client.ended == ["a", "b"]


@on_uvloop
async def test_a_recv_cancelled_with_its_message_on_the_way_loses_nothing(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[object]:
        taken: list[object] = []
        while "last" not in taken:
            waiting = asyncio.create_task(chat.recv())
            await asyncio.sleep(0)
            waiting.cancel()
            try:
                taken.append(await waiting)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
        return taken

    client = await talk(worker, handle)
    texts = [str(number) for number in range(300)]
    for text in texts:
        await client.send(text)
    await client.send("last")
    assert await client.ended == [*texts, "last"]


@on_uvloop
async def test_the_handler_itself_may_be_cancelled_and_go_on(worker: Worker) -> None:
    was_cancelled = asyncio.Event()

    async def handle(chat: Chat) -> object:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel, "for a reason")
        with pytest.raises(asyncio.CancelledError, match="for a reason"):
            await chat.recv()
        task.uncancel()
        was_cancelled.set()
        return await chat.recv()

    client = await talk(worker, handle)
    await was_cancelled.wait()
    await client.send("later")
    assert await client.ended == "later"


@on_uvloop
async def test_a_timeout_ends_a_wait_and_only_that(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[object]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await chat.recv()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat.recv(), 0.001)
        await chat.send("now")
        async with asyncio.timeout(30):
            first = await chat.recv()
        return [first, await asyncio.wait_for(chat.recv(), 30)]

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("a", "b")
    assert await client.ended == ["a", "b"]


@on_uvloop
async def test_a_send_that_waits_and_is_cancelled_sends_nothing(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        large = bytes(1 << 20)

        async def fill() -> None:
            while True:
                await chat.send(large)

        filling = asyncio.create_task(fill())
        await until(lambda: sends_no_more(chat))
        waiting = asyncio.create_task(chat.send("never"))
        await settle()
        for task in (waiting, filling):
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await chat.send("end")

    client = await talk(worker, handle)
    received = bytearray()
    while b"\x81\x03end" not in received[-20:]:  # a Close follows
        received += await asyncio.get_running_loop().sock_recv(client.client, 1 << 20)
    await client.ended
    assert b"never" not in received


def sends_no_more(chat: Chat) -> bool:
    """Send an empty message if there is room for it, and return whether there was none."""
    step = chat.send("")
    try:
        step.send(None)
    except StopIteration:
        return False
    step.close()
    return True


# Tasks


@on_uvloop
async def test_recv_in_a_task_group_is_cancelled_with_the_group(worker: Worker) -> None:
    async def fail() -> None:
        await settle()
        raise KeyError("of a sibling")

    async def handle(chat: Chat) -> object:
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.TaskGroup() as group:
                group.create_task(chat.recv())
                group.create_task(fail())
        assert [type(error) for error in raised.value.exceptions] == [KeyError]
        await chat.send("now")
        return await chat.recv()

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("after it")
    assert await client.ended == "after it"


@on_uvloop
async def test_recv_in_a_task_gives_way_to_whatever_comes_first(worker: Worker) -> None:
    async def handle(chat: Chat) -> object:
        event = asyncio.Event()
        receiving = asyncio.create_task(chat.recv())
        waiting = asyncio.create_task(event.wait())
        event.set()
        done, pending = await asyncio.wait(
            (receiving, waiting), return_when=asyncio.FIRST_COMPLETED
        )
        assert (done, pending) == ({waiting}, {receiving})
        await chat.send("now")
        return await receiving

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("a")
    assert await client.ended == "a"


@on_uvloop
async def test_recv_works_with_gather_and_shield(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[object]:
        shielded = asyncio.ensure_future(chat.recv())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.shield(shielded)
        await chat.send("now")
        gathered = await asyncio.gather(shielded, asyncio.sleep(0, "slept"))
        return [*gathered, await chat.recv()]

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("a", "b")
    assert await client.ended == ["a", "slept", "b"]


@on_uvloop
async def test_a_task_of_recv_waits_or_is_done_as_early_as_a_task_can_be(worker: Worker) -> None:
    # From 3.12 on a task may begin at once, inside the task that makes it.
    is_eager = sys.version_info >= (3, 12)
    options: dict[str, Any] = {"eager_start": True} if is_eager else {}

    def task(awaited: Any) -> asyncio.Task[Any]:
        return asyncio.Task(awaited, loop=asyncio.get_running_loop(), **options)

    async def handle(chat: Chat) -> list[object]:
        first = task(chat.recv())
        assert not first.done()
        await chat.send("now")
        taken = [await first]
        second, sending = task(chat.recv()), task(chat.send("sent"))
        assert second.done() is sending.done() is is_eager
        await sending
        return [*taken, await second]

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("a", "b")
    assert await client.ended == ["a", "b"]
    assert await client.receive() == ["sent"]


@on_uvloop
async def test_a_second_recv_is_refused_and_the_first_unharmed(worker: Worker) -> None:
    async def handle(chat: Chat) -> object:
        first = asyncio.create_task(chat.recv())
        await settle()
        with pytest.raises(ConcurrencyError):
            await chat.recv()
        with pytest.raises(ConcurrencyError):
            await anext(chat)
        await chat.send("now")
        return await first

    client = await talk(worker, handle)
    assert await client.receive() == ["now"]
    await client.send("a")
    assert await client.ended == "a"


@on_uvloop
async def test_the_current_task_is_the_one_that_awaits(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    between: list[object] = []

    async def handle(chat: Chat) -> None:
        mine = asyncio.current_task()
        assert mine is not None
        assert mine in asyncio.all_tasks()
        for _ in range(2):
            await chat.send("waiting")
            assert asyncio.current_task() is mine
            loop.call_soon(lambda: between.append(asyncio.current_task()))
            await chat.recv()
            assert asyncio.current_task() is mine

        async def other() -> None:
            own = asyncio.current_task()
            await chat.send("waiting")
            await chat.recv()
            assert asyncio.current_task() is own is not mine

        await asyncio.create_task(other())
        assert asyncio.current_task() is mine

    client = await talk(worker, handle)
    for text in "abc":
        assert await client.receive() == ["waiting"]
        await client.send(text)
    await client.ended
    assert between == [None, None]


@on_uvloop
async def test_several_tasks_may_send_and_each_keeps_its_order(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        async def count(name: str) -> None:
            for number in range(50):
                await chat.send(f"{name}{number}")
                if number % 7 == 0:
                    await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(count(name))

    client = await talk(worker, handle)
    await client.ended
    received = await client.receive(150)
    for name in "abc":
        assert [text for text in received if str(text)[0] == name] == [
            f"{name}{number}" for number in range(50)
        ]


@on_uvloop
async def test_a_handler_that_never_waits_for_messages_lets_others_run(worker: Worker) -> None:
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    async def handle(chat: Chat) -> int:
        await chat.recv()
        asyncio.get_running_loop().call_soon(turn)
        for _ in range(999):
            await chat.recv()
        return turns

    client = await talk(worker, handle)
    await client.send(*"m" * 1000)
    assert await client.ended > 0


# Context


@on_uvloop
async def test_context_variables_stay_with_their_task(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        NAME.set("handler")
        for _ in range(2):
            await chat.send("waiting")
            await chat.recv()
            assert NAME.get() == "handler"

        async def receive() -> None:
            assert NAME.get() == "handler"
            NAME.set("child")
            await chat.send("waiting")
            await chat.recv()
            assert NAME.get() == "child"

        await asyncio.create_task(receive())
        assert NAME.get() == "handler"
        context = contextvars.copy_context()
        context.run(NAME.set, "other")
        receiving = asyncio.create_task(chat.recv(), context=context)
        await settle()
        await chat.send("waiting")
        await receiving
        assert (context[NAME], NAME.get()) == ("other", "handler")

    client = await talk(worker, handle)
    for text in "abcd":
        assert await client.receive() == ["waiting"]
        await client.send(text)
    await client.ended
    assert NAME.get() == "nobody"


# Coroutines


@on_uvloop
async def test_all_methods_return_coroutines(worker: Worker) -> None:
    # 3.11 lets only asyncio's own function know of others than the interpreter's; later versions, both.
    is_function = (
        inspect.iscoroutinefunction if sys.version_info >= (3, 12) else asyncio.iscoroutinefunction
    )

    async def handle(chat: Chat) -> None:
        for method in (chat.recv, chat.send, chat.ping, chat.close):
            assert is_function(method)
        coroutines = (chat.recv(), chat.send("never"), chat.ping(), chat.close())
        for coroutine in coroutines:
            assert asyncio.iscoroutine(coroutine)
            assert isinstance(coroutine, Coroutine)
            coroutine.close()

    client = await talk(worker, handle)
    await client.ended


@on_uvloop
async def test_a_coroutine_never_awaited_is_warned_of(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for method in (chat.recv, partial(chat.send, "never"), chat.ping, chat.close):
                method()
            gc.collect()
        return [str(warning.message) for warning in caught]

    client = await talk(worker, handle)
    told = await client.ended
    assert [text.split("'")[1].rsplit(".")[-1] for text in told] == [
        "recv",
        "send",
        "ping",
        "close",
    ]
    assert all(text.endswith("was never awaited") for text in told)


@pytest.mark.parametrize("error", [KeyError, Fatal, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_thrown_into_a_wait_comes_out_of_it(error: type[BaseException]) -> None:
    @on_uvloop
    async def check(worker: Worker) -> None:
        async def handle(chat: Chat) -> object:
            steps: list[Any] = [chat.recv(), anext(chat).__await__()]
            for step in steps:
                # As a task would take it up, by hand: what it waits for is left alone.
                next(step) if inspect.isgenerator(step) else step.send(None)
                with pytest.raises(error):
                    step.throw(error("from outside"))
            await chat.send("now")
            return await chat.recv()

        client = await talk(worker, handle)
        assert await client.receive() == ["now"]
        await client.send("after it")
        assert await client.ended == "after it"

    check()


@pytest.mark.parametrize("error", [KeyError, Fatal, GeneratorExit])
def test_an_exception_thrown_into_a_send_or_a_close_comes_out(error: type[BaseException]) -> None:
    @on_uvloop
    async def check(worker: Worker) -> None:
        async def handle(chat: Chat) -> None:
            large = bytes(1 << 20)
            while not sends_no_more(chat):
                await chat.send(large)
            for step in (chat.send("never"), chat.close()):
                step.send(None)
                with pytest.raises(error):
                    step.throw(error("from outside"))

        client = await talk(worker, handle, **{"close-timeout": "100ms"})
        await client.ended

    check()


@on_uvloop
async def test_what_a_handler_raises_between_messages_is_its_own(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        await chat.recv()
        raise Fatal

    client = await talk(worker, handle)
    await client.send("a")
    with pytest.raises(Fatal):
        await client.ended


# Iteration


@pytest.mark.parametrize("code", [1000, 1001])
def test_iteration_ends_with_a_normal_close(code: int) -> None:
    @on_uvloop
    async def check(worker: Worker) -> None:
        async def handle(chat: Chat) -> list[object]:
            taken: list[object] = [message async for message in chat]
            # Once ended, always ended.
            assert [message async for message in chat] == []
            with pytest.raises(ConnectionClosedOK):
                await chat.recv()
            return taken

        client = await talk(worker, handle)
        await client.send("a", "b")
        await client.close(code)
        assert await client.ended == ["a", "b"]

    check()


@on_uvloop
async def test_iteration_raises_on_another_close_and_gives_what_came_before(
    worker: Worker,
) -> None:
    async def handle(chat: Chat) -> list[object]:
        taken: list[object] = []
        with pytest.raises(ConnectionClosedError) as raised:
            async for message in chat:
                taken.append(message)
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 4000
        with pytest.raises(ConnectionClosedError):
            await chat.send("late")
        return taken

    client = await talk(worker, handle)
    await client.send("a", "b")
    await client.close(4000)
    assert await client.ended == ["a", "b"]


@on_uvloop
async def test_iteration_may_be_left_and_taken_up_again(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[object]:
        assert aiter(chat) is chat
        taken: list[object] = []
        for _ in range(2):
            async for message in chat:
                taken.append(message)
                break
        taken.extend((await anext(chat), await chat.recv()))
        return taken

    client = await talk(worker, handle)
    await client.send(*"abcd")
    assert await client.ended == ["a", "b", "c", "d"]


@on_uvloop
async def test_an_async_generator_over_a_connection_may_be_closed(worker: Worker) -> None:
    async def upper(chat: Chat) -> AsyncGenerator[str, None]:
        async for message in chat:
            yield str(message).upper()

    async def handle(chat: Chat) -> list[object]:
        async with contextlib.aclosing(upper(chat)) as texts:
            first = await anext(texts)
        return [first, await chat.recv()]

    client = await talk(worker, handle)
    await client.send("a", "b")
    assert await client.ended == ["A", "b"]


# What is sent


@on_uvloop
async def test_send_takes_text_and_anything_of_bytes(worker: Worker) -> None:
    class Text(str):
        __slots__ = ()

    class Bytes(bytes):
        __slots__ = ()

    changing = bytearray(b"array")

    async def handle(chat: Chat) -> None:
        for message in ("é", Text("text"), b"bytes", Bytes(b"more"), memoryview(b"a-b-c")[::2]):
            await chat.send(message)
        await chat.send(changing)
        changing[:] = b"other"

    client = await talk(worker, handle)
    await client.ended
    assert await client.receive(6) == ["é", "text", b"bytes", b"more", b"abc", b"array"]


@on_uvloop
async def test_what_cannot_be_sent_raises_and_the_connection_goes_on(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        bad: Any
        for bad in (None, 1, ["a"], {"a": 1}):
            with pytest.raises(TypeError, match=type(bad).__name__):
                await chat.send(bad)
        with pytest.raises(UnicodeEncodeError):
            await chat.send("\ud800")
        await chat.send("good")

    client = await talk(worker, handle)
    await client.ended
    assert await client.receive() == ["good"]


@on_uvloop
async def test_types_of_messages_are_exactly_str_and_bytes(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[type]:
        return [type(await chat.recv()) for _ in range(4)]

    client = await talk(worker, handle, **{"max-remote-payload": 1 << 20})
    data = b"".join(
        frame(FINAL | opcode, b"m" * size) for size in (3, 1 << 18) for opcode in (TEXT, BINARY)
    )
    await asyncio.get_running_loop().sock_sendall(client.client, data)
    assert await client.ended == [str, bytes, str, bytes]


# The end


@on_uvloop
async def test_the_end_wakes_whoever_waits_and_raises_ever_after(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        waiting = asyncio.create_task(chat.recv())
        await chat.send("now")
        with pytest.raises(ConnectionClosedError):
            await waiting
        for step in (chat.recv, chat.ping, lambda: chat.send("a"), lambda: anext(chat)):
            with pytest.raises(ConnectionClosedError):
                await step()
        with pytest.raises(ConnectionClosedError):
            chat.try_recv()
        await chat.close()

    client = await talk(worker, handle)
    await client.receive()
    client.client.close()
    await client.ended


@on_uvloop
async def test_an_own_close_ends_a_recv_of_another_task(worker: Worker) -> None:
    async def handle(chat: Chat) -> None:
        waiting = asyncio.create_task(chat.recv())
        await settle()
        closing = asyncio.create_task(chat.close(4001, "bye"))
        with pytest.raises(ConnectionClosed) as raised:
            await waiting
        await closing
        assert raised.value.sent is not None
        assert (raised.value.sent.code, raised.value.sent.reason) == (4001, "bye")

    client = await talk(worker, handle)
    await until(lambda: client.chat is not None)
    assert await client.receive() == [(4001).to_bytes(2) + b"bye"]
    await client.close(4001)
    await client.ended


# Memory


@contextlib.contextmanager
def kept_garbage() -> Iterator[list[object]]:
    """Yield the list of what only the collector of cycles finds within the block."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.extend(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@on_uvloop
async def test_a_message_belongs_to_its_handler_alone(worker: Worker) -> None:
    async def handle(chat: Chat) -> list[int]:
        counts = []
        for _ in range(3):
            message = await chat.recv()
            await chat.send(message)
            counts.append(sys.getrefcount(message))
        own = "".join(("o", "w", "n", str(counts[0])))
        return [*counts, sys.getrefcount(own)]

    client = await talk(worker, handle)
    for text in ("long enough", "to be made anew", "each time"):
        await client.send(text)
        await client.receive()
    *counts, own = await client.ended
    assert counts == [own] * 3


@on_uvloop
async def test_connections_that_have_ended_leave_no_garbage(worker: Worker) -> None:
    async def echo(chat: Chat) -> None:
        async for message in chat:
            await chat.send(message)

    async def wait_otherwise(chat: Chat) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await chat.recv()
        await asyncio.create_task(chat.recv())
        with contextlib.suppress(ConnectionClosed):
            await chat.recv()

    def alive() -> list[object]:
        kinds = (WebSocketConnection, WebSocketProtocol)
        return [item for item in gc.get_objects() if isinstance(item, kinds)]

    async def one(handle: Callable[[Chat], Awaitable[None]]) -> None:
        client: socket.socket
        loop = asyncio.get_running_loop()
        client, _protocol = await worker.connect(handle)
        await loop.sock_sendall(client, frame(FINAL | TEXT, b"a"))
        await asyncio.sleep(0)
        await loop.sock_sendall(client, frame(FINAL | CLOSE, (1000).to_bytes(2)))
        while await loop.sock_recv(client, 100):
            pass
        client.close()

    with kept_garbage() as found:
        for handle in (echo, wait_otherwise) * 5:
            await one(handle)
        await until(lambda: not alive())
    ours = [item for item in found if type(item).__module__.startswith(("mpchat.", "_asyncio"))]
    assert ours == []


@on_uvloop
async def test_all_of_it_holds_in_debug_mode(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))

    async def handle(chat: Chat) -> list[object]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await chat.recv()
        waiting = asyncio.create_task(chat.recv())
        await chat.send("now")
        return [await waiting, *[message async for message in chat]]

    client = await talk(worker, handle)
    await client.receive()
    await client.send("a", "b")
    await client.close()
    assert await client.ended == ["a", "b"]
    assert told == []
