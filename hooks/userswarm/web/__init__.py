"""What our web servers have in common, whatever they answer.

`gunicorn` (a server's life), `logs` (one line for what happened), `metrics` (where Prometheus reads), `addresses` and
`files` (what was bound, what has changed).
"""
