"""Envoy carries the bytes: its configuration, written as data, and its process.

settings    where it listens, and the bounds of what passes
bootstrap   the whole configuration: listeners, clusters, bounds
http        how a request is taken, whom Envoy asks, where it goes
logs        what is told of it, and what a client is told when something fails
running     the files, the binary, the process
"""
