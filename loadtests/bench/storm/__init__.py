"""A storm of clients, and those who are connected already: what congestion control is worth.

Rules. The worker has a core for itself, all clients share another. There those who are connected and
measure come first, so that they see the service and not the storm's own generator. A verdict compares
phases of one run. ``measuring`` runs the phases, ``report`` judges and prints them.
"""
