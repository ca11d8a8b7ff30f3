"""`userswarm rollout`: move the swarms of a template to another revision by batches, and stop when that goes wrong.

In reading order: `plan` (pure: who is moved, in which batch, and who is not), `roll` (the story: list, move a batch,
wait until it is verified, go on or stop), `report`, `commands`.

What has happened is in the swarms alone: an annotation says what was asked for, the status what was built. So a
roll-out that was stopped is taken up by the same command, and taken back by one to the old revision.
"""
