"""The fixtures that start the service: docs/testing.md of mpchat."""

pytest_plugins = ["mpchat.testsuite"]
