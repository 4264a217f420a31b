"""The stream as the options want it: created, or compared; and which stream it is.

Rules. We never change a stream: another host may have other options, and some changes cannot be undone.
Somebody else may change it while we run, without a word from NATS: compare it again now and then.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mpchat.jetstream.api import STREAM_NOT_FOUND, Api, Info
from mpchat.jetstream.errors import (
    ApiError,
    NoReply,
    NoStream,
    NotAllowed,
    StreamDiffers,
    StreamRefused,
    Unavailable,
)
from mpchat.jetstream.messages import Message
from mpchat.jetstream.options import JetStreamOptions
from mpchat.jetstream.subjects import INBOX, Subjects

_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds between trying a stream again that was created just now, or that chooses a leader."""
_NANOSECONDS = 10**9
_NO_PEERS, _STORE_FAILED, _BAD_VALUE, _IN_USE, _OVERLAP = 10005, 10049, 10052, 10058, 10065
_NEVER = (
    # Messages would come otherwise than they were published, or not at all, or be removed by whoever
    # publishes.
    "allow_rollup_hdrs",
    "allow_msg_ttl",
    "allow_msg_counter",
    "allow_msg_schedules",
    "subject_transform",
    "mirror",
    "sources",
    "sealed",
    "no_ack",
    "persist_mode",
    # Where a room begins would say nothing of what was before.
    "max_msgs_per_subject",
)
"""What a stream of rooms may not have."""
_NOTHING: tuple[Any, ...] = (None, False, 0, -1, "", "default", [], {})
"""What NATS says of it then."""
_DURATIONS = {"max_age", "duplicate_window"}


def wanted(options: JetStreamOptions) -> dict[str, Any]:
    """Return the stream's configuration, with NATS's names."""
    subjects = options.subjects
    return {
        "name": subjects.stream,
        "subjects": [subjects.all_stored],
        "retention": "limits",
        "storage": options.storage,
        "num_replicas": options.replicas,
        "discard": "old",
        "max_age": round(options.max_age * 1000) * 10**6,
        "max_bytes": options.max_bytes,
        "max_msg_size": options.max_message,
        "duplicate_window": round(options.duplicate_window * 1000) * 10**6,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
        "republish": {"src": subjects.all_stored, "dest": subjects.live("{{wildcard(1)}}")},
    }


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return a line for each field in which the stream is another than the options want."""
    differing = [
        f"{name}: the stream has {_shown(name, found.get(name))}, the options say {_shown(name, value)}"
        for name, value in wanted.items()
        # NATS leaves out what is false.
        if found.get(name, False) != value
    ]
    forbidden = [
        f"{name}: the stream has {_shown(name, found[name])}, and rooms need it without"
        for name in _NEVER
        if found.get(name) not in _NOTHING
    ]
    return differing + forbidden


def _shown(name: str, value: Any) -> str:
    if name in _DURATIONS and isinstance(value, int):
        return _duration(value)
    return json.dumps(value) if not isinstance(value, str) else value


def _duration(nanoseconds: int) -> str:
    """Return a duration as the command `nats` shows it."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    if not seconds:
        return f"{rest / 10**6:g}ms"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    last = f"{seconds + rest / _NANOSECONDS:g}s"
    if hours:
        return f"{hours}h{minutes}m{last}"
    return f"{minutes}m{last}" if minutes else last


async def prepare(api: Api, options: JetStreamOptions) -> Info:
    """Return the state of the stream, which is as the options want it, and which we may use.

    Raises:
        ConfigFault: It is not, or we may not: the text says what to do.
        Unavailable: NATS does not answer now.
    """
    try:
        info = await _found_or_created(api, options)
        _compare(api, options, info)
        await _try_patiently(api, info)
    except NotAllowed as error:
        text = f"{error}. The permissions of a host:\n{_permissions(api.subjects, options)}"
        raise NotAllowed(text, error.subject) from error
    except NoReply as error:
        if options.domain is None:
            raise
        # There NATS says nothing of a permission that is missing.
        text = f"{error}. If it is there, this may be permissions of the user:"
        raise NoReply(f"{text}\n{_permissions(api.subjects, options)}") from error
    return info


async def _found_or_created(api: Api, options: JetStreamOptions) -> Info:
    try:
        return await api.info()
    except ApiError as error:
        if error.err_code != STREAM_NOT_FOUND:
            raise StreamRefused(str(error)) from error
    config = wanted(options)
    if not options.create_stream:
        text = f"there is no stream {options.stream}, and create-stream is false"
        raise NoStream(f"{text}. {_instructions(config)}")
    try:
        await api.create(config)
    except NotAllowed as error:
        text = f"there is no stream {options.stream}, and the user may not create it"
        raise NoStream(f"{text} ({error}). {_instructions(config)}") from error
    except ApiError as error:
        # Another host has created it meanwhile, with other options: they are compared.
        is_down = error.err_code == _NO_PEERS and "offline" in error.description
        if is_down or error.err_code == _STORE_FAILED:
            raise Unavailable(
                f"the stream {options.stream} cannot be created now: {error}"
            ) from error
        if error.err_code != _IN_USE:
            raise _not_created(options, error) from error
    try:
        return await api.info()
    except ApiError as error:
        # The servers of a cluster have yet to agree on it.
        raise Unavailable(f"the stream was created just now, and is not found: {error}") from error


def _not_created(options: JetStreamOptions, error: ApiError) -> StreamRefused:
    subjects = options.subjects
    advice = {
        _OVERLAP: f"another stream has {subjects.all_stored}: give one of them another name",
        _BAD_VALUE: "change the option that this is about",
    }.get(error.err_code, "the account, or the cluster, has to allow this stream")
    text = f"NATS does not create the stream {options.stream}"
    return StreamRefused(f"{text}: {error.description} ({error.err_code}): {advice}")


def _compare(api: Api, options: JetStreamOptions, info: Info) -> None:
    lines = differences(wanted(options), info.config)
    if lines:
        text = f"the stream {options.stream} differs from the options; nobody changes it but you"
        edit = "change the options, or the stream by `nats stream edit`, or delete it with its messages"
        listed = "\n".join(f"  {line}" for line in lines)
        raise StreamDiffers(f"{text}:\n{listed}\n{edit}", lines)
    limit = api.connection.max_payload
    if not limit:
        raise Unavailable("the connection went down")
    if limit < options.max_message:
        line = f"max_payload: the server has {limit}, max-message is {options.max_message}"
        raise StreamDiffers(f"{line}: lower the option, or raise max_payload at NATS", [line])


async def _try_patiently(api: Api, info: Info) -> None:
    for pause in _PAUSES:
        try:
            await _try_all(api, info)
            return
        except Unavailable:
            await asyncio.sleep(pause)
    await _try_all(api, info)


async def _try_all(api: Api, info: Info) -> None:
    """Do once what a host does, so that a permission that is missing is found at the start."""
    await api.barrier()
    await api.message(max(info.last_seq, 1))
    await api.leader_message(max(info.last_seq, 1))
    connection, subjects = api.connection, api.subjects
    asked = [subjects.live("_b"), subjects.control("_b")]
    subscriptions = [await connection.subscribe(subject, _ignore) for subject in asked]
    try:
        await connection.publish(subjects.control("_b"))
        await connection.flush()
    finally:
        for subscription in subscriptions:
            await connection.unsubscribe(subscription)
    for subscription in subscriptions:
        if not subscription.is_allowed:
            subject = subscription.subject
            text = f"the user's permissions at NATS lack to subscribe to {subject}"
            raise NotAllowed(text, subject)


def _ignore(message: Message) -> None:
    """It was sent to see whether we may."""


def _instructions(config: Mapping[str, Any]) -> str:
    name = config["name"]
    file = f"{name.lower()}.json"
    text = f"Write this to {file}, and call `nats stream add {name} --config {file}`:"
    return f"{text}\n{json.dumps(config, indent=2)}"


def _permissions(subjects: Subjects, options: JetStreamOptions) -> str:
    # A server of the domain itself looks for the permissions of the plain API.
    apis = [subjects] if options.domain is None else [subjects, Subjects(options.stream)]
    requests = [name for api in apis for name in (api.info, api.message, api.direct)]
    create = [api.create for api in apis] if options.create_stream else []
    control = subjects.control(">")
    publish = [subjects.all_stored, *requests, *create, control]
    subscribe = [subjects.all_live, f"{INBOX}.>", control]
    return f"publish: {json.dumps(publish)}\nsubscribe: {json.dumps(subscribe)}"


def epoch_of(info: Info) -> str:
    """Return which stream this is: 16 characters that are safe in an address.

    It is another one after the stream was deleted and created again, and when an operator has set another
    ``mpchat.epoch`` in its metadata, after a restore.
    """
    parts = [info.config["name"], info.created, info.metadata.get("mpchat.epoch", "")]
    found = hashlib.sha256(json.dumps(parts).encode()).digest()
    return base64.urlsafe_b64encode(found[:12]).decode()
