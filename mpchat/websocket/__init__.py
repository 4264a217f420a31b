"""WebSocket: from bytes to messages and back, and the life of a connection.

A message passes through these files in this order: ``protocol``, or ``bulk`` if it is large; ``parser``,
with ``payload``, ``headers``, ``partial``, ``assembly``, ``parts`` and ``deflate``; ``incoming``;
``messages`` and ``connection``, which are all that a handler sees; ``outgoing``, with ``payload``,
``deflate``, ``frames`` and ``direct``. ``task`` and ``stepping`` run the handler.

Modules with a .pxd beside them are compiled where the package is built (mpchat/compiled.py).

A connection is one object, of three classes that derive from each other: ``life`` (its phase, its
Closes), ``timers`` (how long it waits for its client), ``protocol`` (its socket). They act; others
decide: ``phases`` says what follows from which event, and ``limits``, ``keepalive`` and ``uptake`` return
verdicts. These know neither the loop nor the connection.

All connections of a worker share ``turn`` with its ``budget``, ``wheel``, and ``thresholds``: every
number that no option sets.
"""
