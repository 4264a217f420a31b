"""The service that ``mpchat new`` writes.

``my-service`` is that service, and runs where it lies; ``my-service-auth`` has the files that ``--auth``
adds or replaces, ``my-service-rooms`` those of ``--rooms``. A file named ``dot-X`` becomes ``.X``, and
``my-service`` in names and texts becomes the new name.
"""
