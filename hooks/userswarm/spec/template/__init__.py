"""A whole workstation by one name: what the platform writes once, and a swarm asks for.

fields, parameters    what a template may say, and what a user may set
loading, checking     a folder of them, all of it right or all that is wrong said; `trial` builds each once
revisions, choosing   which of them a swarm has, and in which revision
resolving             its features and parameters put in
defaults              what it says in the place of the swarm's own spec
building, steps       its Pod
"""
