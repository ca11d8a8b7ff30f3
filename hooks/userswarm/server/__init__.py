"""The webhook: HTTP around the pure hooks.

In reading order: `app` (the WSGI application), `calls` (one hook call from bytes to bytes), `gathering` (asks a hook
once more with what it needs), `gather` (looks it up: `cluster` asks the API, `service` a swarm's own Service),
`auth` and `limits` (who and what is let in), `changes` (what an answer changes), `logs` and `metrics` (who is told),
`tls`, `launch` (gunicorn itself) and `commands` (`userswarm serve`).
"""
