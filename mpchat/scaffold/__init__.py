"""The service that ``mpchat new`` writes.

``my-service`` is that service, and runs where it lies. A file named ``dot-X`` becomes ``.X``, and
``my-service`` in names and texts becomes the new name.
"""
