"""How names, keys and numbers in a Pod, or beside one, may read."""

from __future__ import annotations

import re

from userswarm.spec.pods.shapes import mapping, number, number_or_text, text

LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
SUBDOMAIN = r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TAKEN_KEYS = frozenset(("controller-uid", "job-name", "pod-template-hash"))
_OWN_LABELS = frozenset(f"app.kubernetes.io/{name}" for name in ("name", "instance", "version"))
_OPEN_ANNOTATIONS = ("checksum", "prometheus.io")

_FOREIGN_KEY = "a key with a domain may steer the platform, the network or the node; use one without"


def _label_key(key: str) -> str:
    if key in _OWN_LABELS:
        return ""
    if "/" in key:
        return f"is reserved for the platform: {_FOREIGN_KEY}, or {', '.join(sorted(_OWN_LABELS))}"
    return _plain_key(key)


def _annotation_key(key: str) -> str:
    domain, slash, name = key.rpartition("/")
    if slash and domain not in _OPEN_ANNOTATIONS:
        return f"is reserved for the platform: {_FOREIGN_KEY}, or one of {', '.join(_OPEN_ANNOTATIONS)}"
    return _plain_key(name)


def _plain_key(key: str) -> str:
    if key in _TAKEN_KEYS:
        return "is reserved for Kubernetes' own controllers; use another"
    if not _KEY.fullmatch(key):
        return "is no key; must be letters, digits, '-', '_' and '.', at most 63"
    return ""


def node_label(key: str) -> str:
    domain, slash, name = key.rpartition("/")
    if _KEY.fullmatch(name) and (not slash or re.fullmatch(SUBDOMAIN, domain)):
        return ""
    return "is no label's key"


def file_name(key: str) -> str:
    if re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key) and not key.startswith("..") and key != ".":
        return ""
    return "is no key; must be letters, digits, '-', '_' and '.', at most 253, and not start with '..'"


def resource(key: str) -> str:
    if key in ("cpu", "memory", "ephemeral-storage"):
        return ""
    return "is not allowed here; allowed are cpu, memory and ephemeral-storage"


LABELS = mapping(_label_key, pattern=LABEL_VALUE, told="a label's value: letters, digits, '-', '_', '.', at most 63")
ANNOTATIONS = mapping(_annotation_key)

DNS_LABEL = text(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a DNS label: a-z, 0-9 and -, at most 63")
OBJECT_NAME = text(SUBDOMAIN, "a name: a-z, 0-9, - and ., at most 253")
PORT_NAME = r"(?=[-a-z0-9]{1,15}\Z)(?!.*--)(?=.*[a-z])[a-z0-9]([-a-z0-9]*[a-z0-9])?"
PORT_TOLD = "a port's name: a-z, 0-9 and single -, at most 15"
PORT = number(1, 65535)
PORT_OR_NAME = number_or_text(1, 65535, PORT_NAME, PORT_TOLD)
SECONDS = number(1)
USER = number(1)
GROUP = number(0)
MODE = number(0, 0o777)
ANYTHING = text()

_OWN_PATH = "a path without '..' that does not start with '/'"
RELATIVE = text(r"(?!/)(?!(.*/)?\.\.(/|\Z))[^\0]+", _OWN_PATH)
