"""``make bench-idle``: as many connections as the machine takes, which say nothing.

Imports go one way: ``plan`` (how many workers and clients), ``crowd`` (the client processes) and
``readings`` (what /proc says) know no other; ``service`` runs mpchat; ``measuring`` measures one row;
``report`` prints the page.
"""
