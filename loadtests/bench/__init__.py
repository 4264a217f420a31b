"""The benchmark: mpchat beside the servers that its users could pick instead.

Rules. A server has one core for itself, the load client (client.c) has the other. Cost is what the
scheduler charged all threads of all processes of a server, so idle time and the client count for nothing.
Servers take turns within each round, ratios are taken within a round, and what is reported is the median
over the rounds: a noisy neighbour hits all alike. The client checks every echoed byte.
"""
