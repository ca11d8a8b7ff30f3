"""The gate: decides whether a user's request may go to the user's own runtime, and where that is.

A proxy (Envoy by its ext_authz filter, nginx by auth_request) asks for each request and carries the bytes itself. The
upstream's address is made here out of the swarm that the caller owns, never out of anything that the caller sent.

In reading order: `decide` (the story of one decision), `address` (which workspace), `tokens/` (who), `limits` and
`counting` (how much; `sharing`: by a Redis), `holding` (asleep), `upstream` (where to), `answers` (what the proxy is
told), `streams` (what is open, as Envoy tells it), `audit` and `metrics` (who is told), `settings`, `app`, `launch` and
`commands`; `envoy/` writes Envoy's configuration, and starts it.
"""
