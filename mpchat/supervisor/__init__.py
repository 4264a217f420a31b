"""The supervisor: owns sockets, scoreboard and children. Standard library only, no client bytes.

Decisions, without system calls (``make lint`` holds that): policy and states (workers), reload, restart,
adoption, answers, backoff, heartbeats, timing.

Deeds: supervisor, with its lives boot and service, driven by loop; pool, reloading and restarting, which
carry decisions out; editions, templates, monitors, brokers, consoles, pairs, history and memories, each
with one owner's state; child, family, forks, succession, vigil and orphans (processes); listeners,
inboxes and sockets (clients); signals, orders, systemd, announcing, board, log and faults (the world
around); environment and folder.
"""
