"""The form in which the API server stores an object: as decoding into Go types and encoding again leaves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devcluster import quantities
from devcluster.errors import bad_request
from devcluster.objects import Manifest, Observed
from devcluster.quantities import QuantityError

_MAPS = frozenset(
    {
        "labels",
        "annotations",
        "matchLabels",
        "nodeSelector",
        "data",
        "binaryData",
        "stringData",
        "parameters",
    }
)
"""Fields that are maps: dropped when empty, while their values are kept whatever they are."""

_QUANTITIES = frozenset(
    {
        "limits",
        "requests",
        "capacity",
        "allocatedResources",
        "hard",
        "used",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
    }
)
"""Fields that are maps of quantities."""

_ZEROS = frozenset(
    {
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "publishNotReadyAddresses",
        "initialDelaySeconds",
        "minReadySeconds",
        "paused",
        "hostPort",
        "nodePort",
    }
)
"""Fields whose false or 0 is the same as their absence, and is dropped; elsewhere it means something."""

_KEPT_LISTS = frozenset({"containers", "endpoints", "ports"})
_KEPT_TEXTS = frozenset({"image", "imageID", "storageClassName", "message", "reason", "type"})


def as_stored(kind: str, obj: Observed) -> Manifest:
    """Return an object of a built-in kind as decoding and encoding it would leave it.

    Raises ApiError (400) for a quantity that is none.
    """
    stored: Manifest = _decode(obj, "", in_service=kind == "Service")
    stored.setdefault("metadata", {})
    return stored


def metadata_as_stored(metadata: Observed) -> Manifest:
    """Return metadata as every kind, custom ones too, stores it: without nulls and without what is empty."""
    stored: Manifest = _decode(metadata, "metadata", in_service=False)
    return stored


def _decode(value: Any, field: str, *, in_service: bool) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        # A LimitRange has a list that is called limits, of objects that are no quantities.
        return [_decode(item, "", in_service=in_service) for item in value]
    if not isinstance(value, dict):
        return value
    if field in _QUANTITIES:
        return {name: _amount(item, f"{field}.{name}") for name, item in value.items() if item is not None}
    if _is_map(field, in_service=in_service):
        return {name: item for name, item in value.items() if item is not None}
    decoded = {}
    for name, item in value.items():
        if item is None or _is_omitted(name, item, in_service=in_service):
            continue
        amount = name in {"sizeLimit", "divisor"}
        decoded[name] = _quantity(item, name) if amount else _decode(item, name, in_service=in_service)
    return decoded


def _is_map(field: str, *, in_service: bool) -> bool:
    # A Service's selector is a plain map; everywhere else it is a LabelSelector.
    return field in _MAPS or (in_service and field == "selector")


def _is_omitted(name: str, value: Any, *, in_service: bool) -> bool:
    if value == {}:
        return name in _QUANTITIES or _is_map(name, in_service=in_service)
    if value == []:
        return name not in _KEPT_LISTS or (in_service and name == "ports")
    if value == "":
        return name not in _KEPT_TEXTS
    return name in _ZEROS and not value


def _quantity(value: Any, field: str) -> str:
    return _read(quantities.canonical, value, field)


def _amount(value: Any, field: str) -> str:
    return _read(quantities.canonical_amount, value, field)


def _read(written: Callable[[str | int], str], value: Any, field: str) -> str:
    try:
        return written(value)
    except QuantityError as error:
        raise bad_request(f"{field}: {error}") from None
