"""`userswarm templates`: what the platform offers, whether a file is right, and what would change by a roll-out.

`commands` has the options, `showing` says what a swarm of a template would be, `differing` what moves from one revision
to another mean.
"""
