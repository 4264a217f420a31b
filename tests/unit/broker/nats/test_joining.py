"""How brokers come to their stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mpchat.broker.nats.joining import Joined, join, wait_prepared
from mpchat.jetstream.api import STREAM_NOT_FOUND, Api, Info
from mpchat.jetstream.configuration import epoch_of
from mpchat.jetstream.connection import Connection
from mpchat.jetstream.errors import ApiError, NoReply
from mpchat.jetstream.options import JetStreamOptions
from mpchat.jetstream.subjects import Subjects
from tests.kit.nats import PASSWORD, USER, NatsCluster, NatsServer

LIMIT = 20.0


def options_for(url: str, replicas: int) -> JetStreamOptions:
    login = {"user": USER, "password": PASSWORD}
    return JetStreamOptions.model_validate({"servers": [url], "replicas": replicas, **login})


def ignore(*_words: object) -> None:
    pass


class Hesitating(Api):
    """Answers at first as a cluster does that has yet to agree on the stream."""

    def __init__(self, connection: Connection, subjects: Subjects) -> None:
        super().__init__(connection, subjects)
        not_found = ApiError("stream not found", STREAM_NOT_FOUND, 404, "stream not found")
        self._answers: list[Exception] = [NoReply("no answer"), not_found, not_found]

    async def info(self, timeout: float = 2.0) -> Info:
        if self._answers:
            raise self._answers.pop(0)
        return await super().info(timeout)


async def test_a_stream_that_does_not_answer_yet_is_asked_again(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    try:
        await asyncio.to_thread(server.start)
        options = options_for(server.url, replicas=1)
        connection = Connection(options, on_up=ignore, on_lost=ignore, on_error=ignore)
        await connection.connect(LIMIT)
        info = await wait_prepared(Hesitating(connection, options.subjects), options, LIMIT)
        assert info.config["name"] == options.stream
        await connection.close()
    finally:
        server.close()


async def test_hosts_that_begin_at_once_have_one_stream(tmp_path: Path) -> None:
    cluster = NatsCluster(tmp_path)
    try:
        await asyncio.to_thread(cluster.start)
        options = [options_for(url, replicas=3) for url in cluster.urls]
        begun = (join(each, LIMIT, ignore, ignore, ignore) for each in options)
        joined: list[Joined] = await asyncio.gather(*begun)
        for each in joined:
            await each.connection.close()
        assert len({epoch_of(each.info) for each in joined}) == 1
    finally:
        cluster.close()
