"""The command ``mpchat``: its verbs, and what they print for people."""
