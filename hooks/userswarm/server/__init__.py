"""The webhook: HTTP around the pure hooks, and the only importer of flask.

In reading order: `app` (the WSGI application), `calls` (one hook call from bytes to bytes), `auth` and `limits`
(who and what is let in), `changes` (what an answer changes), `logs` and `metrics` (who is told), `tls`,
`worker` (the gunicorn worker), `launch` (gunicorn itself) and `commands` (`userswarm serve`).
"""
