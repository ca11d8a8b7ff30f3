"""How fast the hooks and their server are, run by hand: ``python -m benchmarks --help`` with tests/ on the path.

samples    hook requests as Metacontroller sends them, recorded on the dev cluster
measure    times and memory of one function
report     tables for people, JSON for machines
hooks      the pure hooks, part by part
wsgi       the whole WSGI call, without sockets
serving    our servers as subprocesses, and what Linux says of their workers
wrk        many requests from outside
webhook    gunicorn over loopback, asked by wrk; cold start; many swarms in turn
gate       the gate's decisions over loopback; gate_envoy has what it adds behind the real Envoy
cluster    the dev cluster with thousands of swarms
lab        many swarms at once on a real cluster; budgets has what they may cost
sleep      many swarms that fall asleep on a real cluster, and are woken
resolve    finding a user's endpoint in the backend

Nothing here asserts a time: numbers are of one machine at one moment. The smallest of several rounds says most where
others use the same machine.
"""
