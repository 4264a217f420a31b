"""The command ``mpchat``: its verbs, and their output for people."""
