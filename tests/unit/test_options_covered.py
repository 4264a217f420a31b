"""Every option of every model is changed here, is read, and has a test that sees its effect.

An option that is added to a model without a row in the table fails; so does a row whose test is gone.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from mpchat.components.component import Component
from mpchat.components.handler_base import HandlerBase
from mpchat.config.static import ManagerOptions, TaskProcessorOptions
from mpchat.config.types import OptionsModel
from mpchat.config.validation import validate
from mpchat.config.yaml_file import Document
from mpchat.dynamic_config.options import DynamicConfigFallbacksOptions, DynamicConfigOptions
from mpchat.dynamic_config.variables import (
    BUILT_IN_KEYS,
    DefaultService,
    DefaultTaskProcessor,
    Drain,
    DynamicDebug,
    GracefulShutdownHeaders,
    Keepalive,
    Limits,
    NoLogSpans,
    ProfilerDebug,
    RpsCongestionControl,
    TaskProcessorQos,
    WaitQueueOverload,
)
from mpchat.errors import Problem
from mpchat.handlers import tests_control
from mpchat.logs.options import LoggerOptions, LoggingOptions
from mpchat.server.options import (
    ConnectionOptions,
    HandlerDefaults,
    ListenerOptions,
    PortOptions,
    ServerOptions,
)
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.websocket.negotiation import DeflateOptions
from mpchat.websocket.options import WebsocketOptions

TESTS = Path(__file__).parent.parent
LOGGERS = {"default": {"file_path": "x"}}
LISTENER = {"port": 1}
HEADERS = "dynamic_variables::test_answers_have_headers_while_the_service_stops"
LEVELS = "dynamic_variables::test_levels_of_named_loggers_change_and_come_back"

# Model: (what it needs anyway, {option: (changed value, "file::test")})
TABLE: dict[type[BaseModel], tuple[dict[str, Any], dict[str, tuple[Any, str]]]] = {
    ManagerOptions: (
        {"task_processors": {}, "default_task_processor": "a", "components": {}},
        {
            "task_processors": ({"b": {}}, "options::test_worker_threads_and_task_processor"),
            "default_task_processor": ("b", "options::test_default_task_processor"),
            "components": ({"c": {}}, "config::test_every_mistake_in_one_run"),
            "graceful_shutdown_continue_accepting_requests_interval": (
                "2s",
                "userver_configs::test_a_config_of_v3_1_serves",
            ),
            "graceful_shutdown_pending_requests_completion_interval": (
                "2s",
                "userver_configs::test_a_config_of_v3_1_serves",
            ),
            "graceful_shutdown_interval": (
                "2s",
                "userver_configs::test_intervals_are_the_defaults_of_a_stop",
            ),
        },
    ),
    TaskProcessorOptions: (
        {"worker_threads": 1},
        {"worker_threads": (2, "options::test_worker_threads_and_task_processor")},
    ),
    ServerOptions: (
        {"listener": LISTENER},
        {
            "listener": ({"port": 2}, "options::test_port"),
            "handshake-timeout": ("1s", "options::test_time_limits_of_plain_http"),
            "body-timeout": ("1s", "slow_clients::test_those_that_do_nothing_are_cut_off"),
            "write-timeout": ("1s", "slow_clients::test_those_that_do_nothing_are_cut_off"),
            "control-socket": (
                "x",
                "control::test_the_socket_is_private_and_goes_with_the_service",
            ),
            "worker-hang-timeout": (
                "1s",
                "hangs::test_a_stuck_worker_is_replaced_and_its_stack_logged",
            ),
            "slow-callback-threshold": (
                "1s",
                "hangs::test_what_holds_the_loop_for_a_moment_is_logged_with_its_stack",
            ),
            "worker-max-lifetime": ("1s", "restart::test_workers_are_replaced_for_their_age"),
            "logger_access": ("a", "logs::test_lines_of_connections_go_to_the_access_log"),
        },
    ),
    PortOptions: (
        LISTENER,
        {
            "address": ("127.0.0.1", "options::test_address"),
            "port": (2, "options::test_port"),
            "unix-socket": ("s.sock", "listening::test_a_unix_socket"),
            "unix-socket-permissions": ("660", "listening::test_a_unix_socket"),
        },
    ),
    ListenerOptions: (
        LISTENER,
        {
            "ports": ([{"port": 2}], "userver_configs::test_one_entry_of_ports"),
            "task_processor": ("b", "options::test_worker_threads_and_task_processor"),
            "backlog": (7, "options::test_backlog"),
            "max_connections_per_worker": (7, "misuse::test_max_connections_per_worker"),
            "ipv6_prefix": (56, "unit/server/admission::test_an_ipv6_network_is_one_client"),
            "max_handshakes": (7, "misuse::test_max_handshakes"),
            "max_connections": (7, "options::test_max_connections_of_the_listener"),
            "connection": ({"keepalive_timeout": 1}, "options::test_time_limits_of_plain_http"),
            "handler-defaults": ({"max_url_size": 1}, "options::test_size_limits_of_plain_http"),
        },
    ),
    ConnectionOptions: (
        {},
        {"keepalive_timeout": (1, "options::test_time_limits_of_plain_http")},
    ),
    HandlerDefaults: (
        {},
        {
            "max_url_size": (1, "options::test_size_limits_of_plain_http"),
            "max_headers_size": (1, "options::test_size_limits_of_plain_http"),
            "max_request_size": (1, "options::test_size_limits_of_plain_http"),
        },
    ),
    LoggingOptions: (
        {},
        {
            "fs-task-processor": ("b", "config::test_names_of_task_processors_are_checked"),
            "loggers": (LOGGERS, "options::test_loggers_file_format_and_level"),
        },
    ),
    LoggerOptions: (
        {"file_path": "@stderr"},
        {
            "file_path": ("x", "options::test_loggers_file_format_and_level"),
            "level": ("warning", "options::test_loggers_file_format_and_level"),
            "format": ("json", "options::test_loggers_file_format_and_level"),
            "flush_level": ("error", "logs::test_lines_below_the_flush_level_wait_for_company"),
            "overflow_behavior": ("block", "options::test_a_log_that_blocks_loses_no_line"),
            "message_queue_size": (
                1,
                "log_files::test_a_pipe_that_nobody_reads_costs_lines_and_nothing_else",
            ),
        },
    ),
    DynamicConfigOptions: (
        {},
        {
            "defaults": ({"A": 1}, "options::test_dynamic_config_layers"),
            "defaults-path": ("x", "options::test_dynamic_config_layers"),
            "load-enabled": (False, "options::test_dynamic_config_sections_can_be_left_out"),
        },
    ),
    DynamicConfigFallbacksOptions: (
        {},
        {
            "fallback-path": ("x", "reload::test_a_bad_file_changes_nothing"),
            "load-enabled": (False, "options::test_dynamic_config_sections_can_be_left_out"),
        },
    ),
    HandlerBase.Options: (
        {"path": "/"},
        {
            "load-enabled": (False, "options::test_load_enabled_path_and_method"),
            "path": ("/a", "options::test_load_enabled_path_and_method"),
            "method": ("POST", "options::test_load_enabled_path_and_method"),
            "task_processor": ("b", "options::test_worker_threads_and_task_processor"),
            "url_trailing_slash": ("strict-match", "options::test_url_trailing_slash"),
            "max_requests_in_flight": (1, "options::test_max_requests_in_flight"),
            "max_requests_per_second": (1, "options::test_max_requests_per_second"),
            "log-level": ("error", "options::test_log_level_of_a_handler"),
        },
    ),
    WebsocketOptions: (
        {"path": "/"},
        {
            "max-remote-payload": (1, "chat::test_too_large_a_message_ends_with_1009"),
            "fragment-size": (1, "handlers::test_return_is_1000_and_fragments_are_as_configured"),
            "close-timeout": ("1s", "options::test_close_timeout"),
            "max_headers_size": (1, "options::test_max_headers_size_of_a_handler"),
            "handshake-timeout": ("1s", "options::test_handshake_timeout_of_a_handler"),
            "write-timeout": ("1s", "options::test_write_limit_and_timeout"),
            "write-limit": (1, "options::test_write_limit_and_timeout"),
            "ping-interval": ("1s", "options::test_ping_interval_and_timeout"),
            "ping-timeout": ("1s", "options::test_ping_interval_and_timeout"),
            "subprotocols": (["a"], "options::test_subprotocols"),
            "permessage-deflate": (True, "compression::test_a_client_of_websockets"),
            "max-messages-per-second": (
                1,
                "misuse::test_a_limit_ends_and_counts_who_goes_beyond_it",
            ),
            "max-bytes-per-second": (1, "misuse::test_a_limit_ends_and_counts_who_goes_beyond_it"),
            "max-control-frames-per-second": (
                1,
                "misuse::test_a_limit_ends_and_counts_who_goes_beyond_it",
            ),
            "message-timeout": (
                "1s",
                "misuse::test_a_message_that_drips_ends_though_something_comes",
            ),
            "idle-timeout": ("1s", "misuse::test_a_client_that_keeps_talking_is_not_idle"),
            "allowed-origins": (["https://a.example"], "handshake::test_allowed_origins"),
        },
    ),
    DeflateOptions: (
        {},
        {
            "server-no-context-takeover": (True, "compression::test_options"),
            "client-no-context-takeover": (True, "compression::test_options"),
            "server-max-window-bits": (9, "compression::test_options"),
            "client-max-window-bits": (9, "compression::test_options"),
        },
    ),
    NoLogSpans: (
        {},
        {
            "names": (("a",), "dynamic_variables::test_lines_are_left_out_by_span"),
            "prefixes": (("a",), "dynamic_variables::test_lines_are_left_out_by_span"),
        },
    ),
    DynamicDebug: (
        {},
        {
            "force-enabled": (("a",), LEVELS),
            "force-disabled": (("a",), LEVELS),
            "force-enabled-level": ({"a": "INFO"}, LEVELS),
            "force-disabled-level": ({"a": "INFO"}, LEVELS),
        },
    ),
    # Another default for an inherited option, and no option of its own.
    tests_control.TestsControl.Options: ({"path": "/tests/{action}"}, {}),
    Limits: (
        {},
        {
            "max_connections": (1, "http::test_max_connections_takes_effect_and_is_lifted"),
            "max_connections_per_address": (1, "dynamic_variables::test_connections_per_address"),
            "max_messages_per_second": (1, "dynamic_variables::test_messages_per_second"),
        },
    ),
    Keepalive: (
        {},
        {
            "interval_ms": (
                1,
                "dynamic_variables::test_keepalive_pings_and_ends_a_dead_peer",
            ),
            "timeout_ms": (1, "dynamic_variables::test_keepalive_pings_and_ends_a_dead_peer"),
        },
    ),
    GracefulShutdownHeaders: (
        {"enabled": True, "headers": {}},
        {"enabled": (False, HEADERS), "headers": ({"x": ("y",)}, HEADERS)},
    ),
    Drain: (
        {},
        {
            "lameduck_ms": (
                1,
                "dynamic_variables::test_lameduck_refuses_while_still_accepting",
            ),
            "window_ms": (1, "dynamic_variables::test_drain_window_spreads_the_closes"),
            "deadline_ms": (
                1,
                "dynamic_variables::test_drain_deadline_cuts_off_who_does_not_confirm",
            ),
        },
    ),
}

MODELS_WITHOUT_EFFECT_YET = {
    RpsCongestionControl,
    WaitQueueOverload,
    DefaultTaskProcessor,
    DefaultService,
    TaskProcessorQos,
    ProfilerDebug,
}
WITHOUT_EFFECT_YET = {
    "USERVER_RPS_CCONTROL",
    "USERVER_RPS_CCONTROL_ENABLED",
    "USERVER_RPS_CCONTROL_ACTIVATED_FACTOR_METRIC",
    "USERVER_RPS_CCONTROL_CUSTOM_STATUS",
    "USERVER_TASK_PROCESSOR_QOS",
    "USERVER_TASK_PROCESSOR_PROFILER_DEBUG",
}
VARIABLES = {
    "USERVER_LOG_REQUEST": "reload::test_log_request_takes_effect",
    "USERVER_LOG_REQUEST_HEADERS": "dynamic_variables::test_headers_are_logged_masked_unless_listed",
    "USERVER_LOG_REQUEST_HEADERS_WHITELIST": (
        "dynamic_variables::test_headers_are_logged_masked_unless_listed"
    ),
    "USERVER_NO_LOG_SPANS": "dynamic_variables::test_lines_are_left_out_by_span",
    "USERVER_LOG_DYNAMIC_DEBUG": (
        "dynamic_variables::test_levels_of_named_loggers_change_and_come_back"
    ),
    "MPCHAT_KEEPALIVE": "dynamic_variables::test_keepalive_pings_and_ends_a_dead_peer",
    "MPCHAT_LIMITS": "http::test_max_connections_takes_effect_and_is_lifted",
    "GRACEFUL_SHUTDOWN_HEADERS": HEADERS,
    "MPCHAT_DRAIN": "dynamic_variables::test_lameduck_refuses_while_still_accepting",
}


def exists(test: str) -> bool:
    """Whether there is such a test; one without a folder is in functional/."""
    file, _, name = test.partition("::")
    folder, _, module = file.rpartition("/")
    tree = ast.parse((TESTS / (folder or "functional") / f"test_{module}.py").read_text())
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        for node in tree.body
    )


def names_of(model: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


def models(base: type[BaseModel]) -> set[type[BaseModel]]:
    return {base} | {found for cls in base.__subclasses__() for found in models(cls)}


def test_every_model_has_a_table() -> None:
    ours = {model for model in models(OptionsModel) if model.__module__.startswith("mpchat.")}
    # What every component has is tested with each that derives from it; a handler's adds nothing.
    tested = ours - {OptionsModel, Component.Options, WebsocketHandlerBase.Options}
    assert tested == {*TABLE, *MODELS_WITHOUT_EFFECT_YET}


@pytest.mark.parametrize("model", TABLE, ids=lambda model: model.__qualname__)
def test_every_option_has_a_row(model: type[BaseModel]) -> None:
    inherited = {name for base in model.__bases__ if base in TABLE for name in names_of(base)}
    assert set(TABLE[model][1]) == names_of(model) - inherited


ROWS = [
    pytest.param(model, needed, option, value, test, id=f"{model.__qualname__}-{option}")
    for model, (needed, rows) in TABLE.items()
    for option, (value, test) in rows.items()
]


@pytest.mark.parametrize(("model", "needed", "option", "value", "test"), ROWS)
def test_a_changed_option_is_read_and_its_effect_is_tested(
    model: type[BaseModel], needed: dict[str, Any], option: str, value: Any, test: str
) -> None:
    changed = {**needed, option: value}
    if option in {"unix-socket", "ports"}:
        del changed["port"]
    if option == "unix-socket-permissions":
        needed = {"unix-socket": "s.sock"}
        changed = {**needed, option: value}
    problems: list[Problem] = []
    before = validate(model, Document("f", needed, {}), (), problems)
    after = validate(model, Document("f", changed, {}), (), problems)
    assert problems == []
    assert before is not None
    assert after is not None
    field = next(n for n, info in model.model_fields.items() if (info.alias or n) == option)
    assert getattr(before, field) != getattr(after, field)
    assert exists(test), test


def test_every_variable_has_a_test_or_is_known_to_have_no_effect_yet() -> None:
    assert {key.name for key in BUILT_IN_KEYS} == {*VARIABLES, *WITHOUT_EFFECT_YET}
    for test in VARIABLES.values():
        assert exists(test), test
