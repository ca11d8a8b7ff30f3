"""Kubernetes quantities: what a text such as ``1.5Gi`` is worth, and how the API server writes it back.

A child whose quantities are not written as they are stored is updated in every sync, so the oddities of
k8s.io/apimachinery's resource.Quantity count. `kubernetes.utils.quantity` knows what a text is worth, but not how it
is stored, and takes some for quantities that are none.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Final

from devcluster.errors import DevClusterError

_TEXT: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([numkMGTPE]?|[KMGTPE]i|[eE][+-]?[0-9]{1,3})")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_FINEST: Final = -9
_FINEST_AMOUNT: Final = -3
_LARGEST: Final = 2**63 - 1


class QuantityError(DevClusterError, ValueError):
    """A value is not a Kubernetes quantity."""


@lru_cache(maxsize=4096, typed=True)
def parse(quantity: str | int) -> Fraction:
    """Return the exact value. Like Kubernetes it rounds up to a whole nano, and caps binary ones at 2^63-1."""
    sign, digits, places, unit = _split(quantity)
    factor = Fraction(2) ** _BINARY[unit] if unit in _BINARY else Fraction(10) ** _exponent(unit)
    value = Fraction(ceil(int(digits) * factor / 10**places * 10**-_FINEST), 10**-_FINEST)
    value = min(value, Fraction(_LARGEST)) if unit in _BINARY else value
    return -value if sign == "-" else value


def compare(left: str | int, right: str | int) -> int:
    """Return -1, 0 or 1 as `left` is less than, equal to or more than `right`."""
    difference = parse(left) - parse(right)
    return (difference > 0) - (difference < 0)


@lru_cache(maxsize=4096, typed=True)
def canonical(quantity: str | int) -> str:
    """Return the text under which a quantity is stored: ``1`` for ``1000m``, ``1536Mi`` for ``1.5Gi``."""
    _, digits, places, unit = _split(quantity)
    if _is_stored_as_written(digits, places, unit):
        return str(quantity)
    value = parse(quantity)
    if not value:
        return "0"
    # Small or broken values are written decimally: nothing may be rounded.
    if unit in _BINARY and abs(value) >= 1024 and value.denominator == 1:
        units = [each for each, power in _BINARY.items() if not value % 2**power]
        return f"{value / 2 ** _BINARY[units[-1]]}{units[-1]}" if units else str(value)
    number, exponent = int(value * 10**-_FINEST), _FINEST
    while number % 1000 == 0:
        number, exponent = number // 1000, exponent + 3
    if len(unit) > 1 and unit not in _BINARY:
        return f"{number}e{exponent}" if exponent else str(number)
    # Beyond E there is no unit, and Kubernetes drops the exponent.
    return str(number) + next((each for each, power in _DECIMAL.items() if power == exponent), "")


def canonical_amount(quantity: str | int) -> str:
    """Return the same for an amount of a resource, of which a thousandth is the finest: what is finer is rounded up."""
    _, _, places, unit = _split(quantity)
    thousandths = parse(quantity) * 1000
    if (0 if unit in _BINARY else _exponent(unit)) - places >= _FINEST_AMOUNT:
        return canonical(quantity)
    if unit in _BINARY and thousandths.denominator == 1:
        return canonical(quantity)
    return canonical(f"{ceil(thousandths)}{'m' if unit in _DECIMAL or unit in _BINARY else 'e-3'}")


def _split(quantity: object) -> tuple[str, str, int, str]:
    """Return sign, digits without leading zeros, how many of them are behind the point, and unit."""
    match = _TEXT.fullmatch(str(quantity))
    if match is None or not (match[2] or match[3]):
        raise QuantityError(f"{quantity!r} is not a quantity")
    sign, whole, fraction, unit = match.groups(default="")
    return sign, (whole.lstrip("0") or "0") + fraction, len(fraction), unit


def _exponent(unit: str) -> int:
    return _DECIMAL[unit] if unit in _DECIMAL else int(unit[1:])


def _is_stored_as_written(digits: str, places: int, unit: str) -> bool:
    """Return whether Kubernetes keeps the text: few digits, and what a larger unit could not write as well."""
    if unit in _BINARY:
        return not places and len(digits) + _BINARY[unit] * 3 // 10 <= 14 and int(digits) % 8 != 0
    exponent = _exponent(unit) - places
    return len(digits) <= 18 and exponent >= _FINEST and exponent % 3 == 0 and not re.match("0|.*000$", digits)
