"""Kubernetes quantities: what a text such as ``1.5Gi`` is worth, and how the apiserver writes it back.

The rules are those of k8s.io/apimachinery's resource.Quantity, oddities included: a child whose quantities are
not written as the apiserver stores them would be updated in every sync, for ever. Values are exact; nothing
here is a float.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from userswarm.errors import QuantityError

_TEXT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")

_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = {0: ""} | {exponent: suffix for suffix, exponent in _BINARY.items()}

_SI, _EXPONENT, _IEC = range(3)

_FINEST = -9  # nano: what is finer is rounded up, away from zero
_FINEST_AMOUNT = -3
_MAX = 2**63 - 1  # binary quantities are capped here; decimal ones are not
_INT64_DIGITS = 18
_BINARY_DIGITS = 14

# Kubernetes sets no such bounds. They are far beyond any use, and keep a text from costing more than it is long.
_LONGEST = 256
_LARGEST_EXPONENT = 999


class _Amount(NamedTuple):
    """``mantissa * 10**exponent`` in one of the three notations; `kept` is the text where it is stored as written."""

    mantissa: int
    exponent: int
    notation: int
    kept: str | None


def canonical(quantity: str | int) -> str:
    """Return the text under which the apiserver stores a quantity, for example ``1536Mi`` for ``1.5Gi``.

    Beyond ``E`` a decimal quantity has no unit and Kubernetes drops its exponent (``10000000000T`` is stored as
    ``10``); that is reproduced. Raises QuantityError on what is no quantity.
    """
    return _canonical(_text(quantity))


def canonical_amount(quantity: str | int) -> str:
    """Return the same for an amount of a resource: in requests, limits and quotas a thousandth is the finest.

    What is finer is rounded up when it is stored: ``1500u`` becomes ``2m``. Raises QuantityError as `canonical` does.
    """
    return _canonical(_text(quantity), _FINEST_AMOUNT)


def parse(quantity: str | int) -> Fraction:
    """Return the exact value, in units: cores or bytes.

    Like Kubernetes it rounds up to a whole nano, and caps binary quantities (``Ki`` … ``Ei``) at 2^63-1. Raises
    QuantityError on what is no quantity.
    """
    return _value(_text(quantity))


def parse_non_negative(quantity: str | int) -> Fraction:
    """Return the exact value as `parse` does, and raise QuantityError below zero."""
    value = parse(quantity)
    if value < 0:
        raise QuantityError(f"{quantity!r} is negative; accepted are zero and more, such as 500m, 2 or 2Gi")
    return value


def compare(left: str | int, right: str | int) -> int:
    """Return -1, 0 or 1 as `left` is less than, equal to or more than `right`; ``100m`` equals ``0.1``."""
    a, b = parse(left), parse(right)
    if left == right or a == b:  # the same text, almost always, and faster to tell
        return 0
    return 1 if a > b else -1


def _text(quantity: object) -> str:
    if isinstance(quantity, str):
        return quantity
    if isinstance(quantity, int) and abs(quantity) < 10 ** (_LONGEST - 1):
        return str(quantity)  # a bool's text is no quantity
    raise _wrong(quantity)


def _wrong(quantity: object) -> QuantityError:
    shown = repr(quantity)
    if len(shown) > 80:
        shown = shown[:79] + "…"
    return QuantityError(
        f"{shown} is not a quantity; accepted are a number and a unit, such as 500m, 0.5, 2, 512Mi, 2Gi, 10G or 1e3"
    )


@lru_cache(maxsize=4096)
def _canonical(text: str, finest: int = _FINEST) -> str:
    amount = _amount(text)
    if amount.exponent < finest:
        return _written(_Amount(*_rounded(amount.mantissa, amount.exponent, finest), amount.notation, None))
    return amount.kept if amount.kept is not None else _written(amount)


@lru_cache(maxsize=4096)
def _value(text: str) -> Fraction:
    amount = _amount(text)
    if amount.exponent < 0:
        return Fraction(amount.mantissa, 10**-amount.exponent)
    return Fraction(amount.mantissa * 10**amount.exponent)


def _amount(text: str) -> _Amount:
    """Read a text; Kubernetes' grammar, and that there has to be a digit."""
    match = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise _wrong(text)
    sign, whole, fraction, suffix = match.groups(default="")
    if not whole and not fraction:
        raise _wrong(text)
    digits = (whole.lstrip("0") or "0") + fraction
    mantissa = int(sign + digits)

    if suffix in _BINARY:
        return _binary(text, mantissa, len(digits), len(fraction), _BINARY[suffix])
    if suffix in _DECIMAL:
        notation, exponent = _SI, _DECIMAL[suffix]
    else:
        notation, exponent = _EXPONENT, int(suffix[1:])
        if abs(exponent) > _LARGEST_EXPONENT:
            raise _wrong(text)

    exponent -= len(fraction)
    # Written with few enough digits and in thousands, it is stored as it is, superfluous zeros and all.
    as_written = (
        len(digits) <= _INT64_DIGITS
        and exponent >= _FINEST
        and exponent % 3 == 0
        and digits[0] != "0"
        and not digits.endswith("000")
    )
    return _Amount(*_rounded(mantissa, exponent), notation, text if as_written else None)


def _binary(text: str, mantissa: int, digits: int, places: int, power: int) -> _Amount:
    """Scale by a power of two; `places` of the `digits` are behind the point."""
    scaled = mantissa << power
    if not places and digits + power * 3 // 10 <= _BINARY_DIGITS:
        # A multiple of eight might be written with the next larger unit, so only the others are stored as written.
        return _Amount(scaled, 0, _IEC, text if mantissa % 8 else None)
    scaled, exponent = _rounded(scaled, -places)
    if abs(scaled) > _MAX * 10**-exponent:
        scaled, exponent = (_MAX if scaled > 0 else -_MAX), 0
    return _Amount(scaled, exponent, _IEC, None)


def _rounded(mantissa: int, exponent: int, finest: int = _FINEST) -> tuple[int, int]:
    """Round away from zero to a whole nano, so that whoever asks for too little gets something."""
    if exponent >= finest:
        return mantissa, exponent
    whole, rest = divmod(abs(mantissa), 10 ** (finest - exponent))
    whole += rest > 0
    return (whole if mantissa > 0 else -whole), finest


def _written(amount: _Amount) -> str:
    """Write without a fraction and with the largest unit of the notation that loses nothing."""
    mantissa, exponent, notation, _ = amount
    if not mantissa:
        return "0"
    if notation == _IEC:
        whole, rest = divmod(abs(mantissa), 10**-exponent)
        # Small or broken values are written decimally: nothing may be rounded.
        if whole >= 1024 and not rest:
            power = 0
            while whole % 1024 == 0:
                whole //= 1024
                power += 10
            return f"{'-' * (mantissa < 0)}{whole}{_BINARY_SUFFIX[power]}"

    while mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    mantissa *= 10 ** (exponent % 3)
    exponent -= exponent % 3
    if notation == _EXPONENT:
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIX.get(exponent, '')}"
