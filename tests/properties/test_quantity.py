"""What holds for every quantity, however it is written."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from userswarm.errors import QuantityError
from userswarm.spec.quantity import canonical, compare, parse

NANO = Fraction(1, 10**9)
MAX = 2**63 - 1
UNITS = {
    "": Fraction(1),
    **{unit: Fraction(10) ** power for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)},
    **{f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
LARGEST_UNIT = 10**21
"""From here on a decimal quantity that ends in zeros has no unit, and Kubernetes drops the exponent."""


@st.composite
def quantities(draw: st.DrawFn) -> tuple[str, Fraction]:
    """Draw a text and what it is worth by the definition of its unit, before rounding and capping."""
    whole = draw(st.integers(0, 10**15))
    places = draw(st.text("0123456789", max_size=12))
    sign = draw(st.sampled_from(["", "", "", "-"]))
    number = f"{sign}{whole}" + (f".{places}" if places or draw(st.booleans()) else "")
    value = Fraction(f"{sign}{whole}.{places or 0}")
    exponent = draw(st.integers(-12, 12))
    unit = draw(st.sampled_from([*UNITS, f"e{exponent}", f"E{exponent:+d}"]))
    return number + unit, value * (UNITS[unit] if unit in UNITS else Fraction(10) ** exponent)


def stored_value(value: Fraction, text: str) -> Fraction:
    """Round away from zero to a whole nano, and cap what is binary."""
    size = ceil(abs(value) / NANO) * NANO
    if text.endswith("i"):
        size = min(size, Fraction(MAX))
    return size if value > 0 else -size


@given(quantities())
def test_value_is_that_of_number_and_unit(drawn: tuple[str, Fraction]) -> None:
    text, value = drawn

    assert parse(text) == stored_value(value, text)


@given(quantities())
def test_canonical_text_is_canonical(drawn: tuple[str, Fraction]) -> None:
    once = canonical(drawn[0])

    assert canonical(once) == once


@given(quantities())
def test_canonical_text_is_worth_the_same(drawn: tuple[str, Fraction]) -> None:
    text, value = drawn
    if abs(value) < LARGEST_UNIT:
        assert parse(canonical(text)) == parse(text)


@given(quantities(), quantities())
def test_comparison_is_the_order_of_the_values(left: tuple[str, Fraction], right: tuple[str, Fraction]) -> None:
    a, b = stored_value(left[1], left[0]), stored_value(right[1], right[0])

    assert compare(left[0], right[0]) == (a > b) - (a < b)
    assert compare(left[0], left[0]) == 0


@given(st.one_of(st.text(max_size=12), st.text("0123456789.+-eEinumkKMGTP ", max_size=12)))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        once = canonical(text)
    except QuantityError:
        return
    assert canonical(once) == once
    assert any(digit in text for digit in "0123456789")
