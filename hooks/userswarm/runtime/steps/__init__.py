"""Steps of a template that run before its containers: `userswarm bootstrap git` and `userswarm bootstrap ssh`.

Reading order: `tools` (how git and ssh are run), `remote` (what a repository is asked for with), `clone` (the first
time), `pull` (every other time), `keys` (an ssh directory).
"""
