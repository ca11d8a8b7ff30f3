"""Metacontroller, as far as one CompositeController needs it: calls the hooks, and does as they say.

It follows Metacontroller 4.17 step by step, in its order, with its quirks: pkg/controller/composite/controller.go
and pkg/controller/common/manage_children.go. Rolling update strategies and the ETag cache are not modelled.

controller     `Metacontroller`: what makes it look at a parent, and one sync from beginning to end
spec           what the CompositeController says
work_queue     which parent is synced when
parents        the parents, and what it writes to them: the finalizer and the status
claiming       which children are a parent's
customizing    which related objects a parent has asked for
calling        one call of a hook, and how a test may spoil it
answers        what a hook's answer says, and when it is refused
words          how groups, objects and problems are named
"""

from __future__ import annotations

from devcluster.metacontroller.calling import HookCall
from devcluster.metacontroller.controller import DYNAMIC_APPLY, SERVER_SIDE_APPLY, Metacontroller

__all__ = ["DYNAMIC_APPLY", "SERVER_SIDE_APPLY", "HookCall", "Metacontroller"]
