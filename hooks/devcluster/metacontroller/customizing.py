"""Which related objects a parent has asked for: its customize answer, remembered for each generation."""

from __future__ import annotations

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.children import Groups
from devcluster.metacontroller.answers import parse_customize
from devcluster.metacontroller.calling import HookCaller
from devcluster.metacontroller.spec import ControllerSpec
from devcluster.metacontroller.words import group_name
from devcluster.objects import Key, Observed, key_of, uid_of
from devcluster.related import RelatedIndex, RelatedRule, parse_rule

_CACHE_SECONDS = 20 * 60


class Customizing:
    """The customize answers of one controller's parents; `controller` is what a request says of the controller."""

    def __init__(self, api: ApiServer, spec: ControllerSpec, caller: HookCaller, controller: object) -> None:
        self._api = api
        self._spec = spec
        self._caller = caller
        self._controller = controller
        self._answers: dict[tuple[str, int], tuple[float, tuple[RelatedRule, ...]]] = {}
        self._index = RelatedIndex()

    def related_objects(self, parent: Observed) -> Groups:
        """Return the related objects by group and key."""
        groups: Groups = {}
        for rule in self._rules(parent):
            group = groups.setdefault(group_name(rule.kind), {})
            for obj in rule.select(self._api):
                group[self._spec.child_key(parent, "customize", obj)] = obj
        return groups

    def concerned_by(self, event: WatchEvent) -> list[Key]:
        """Return the parents that asked for an object as it is, or as it was before."""
        objects = (obj for obj in (event.object, event.old) if obj is not None)
        return [key for obj in objects for key in self._index.parents_of(event.kind, obj, self._api)]

    def forget(self, key: Key) -> None:
        """Forget what a parent asked for."""
        self._index.put(key, ())

    def _rules(self, parent: Observed) -> tuple[RelatedRule, ...]:
        if "customize" not in self._spec.hooks:
            return ()
        cache_key = (uid_of(parent), parent["metadata"]["generation"])
        until, rules = self._answers.get(cache_key, (-1.0, ()))
        if until > self._api.clock.elapsed:
            return rules
        body = self._caller.call("customize", parent, {"controller": self._controller, "parent": parent})
        wanted = parse_customize(self._spec.version("customize"), body)
        rules = tuple(parse_rule(rule, self._api) for rule in wanted)
        self._answers = {key: cached for key, cached in self._answers.items() if key[0] != cache_key[0]}
        self._answers[cache_key] = (self._api.clock.elapsed + _CACHE_SECONDS, rules)
        self._index.put(key_of(parent), rules)
        return rules
