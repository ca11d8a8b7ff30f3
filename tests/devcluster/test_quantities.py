"""Quantities of the dev cluster: two readings of one rule, ours for the hooks and the cluster's, have to agree."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devcluster import quantities
from userswarm.errors import QuantityError
from userswarm.spec import quantity

UNITS = ["", *"numkMGTPE", *(f"{letter}i" for letter in "KMGTPE"), "e3", "E-4", "e12", "e0", "e30"]
numbers = st.text("0123456789.", min_size=1, max_size=24) | st.decimals(0, 10**20, places=4).map(str)


def outcome(read: object, text: str) -> object:
    try:
        return read(text)  # type: ignore[operator]
    except (quantities.QuantityError, QuantityError):
        return "no quantity"


@given(sign=st.sampled_from(["", "-", "+"]), number=numbers, unit=st.sampled_from(UNITS))
@example("", "1.5", "Gi")
@example("", "1000", "m")
@example("", "0.07", "Ti")
@example("", "9223372036854775808", "Ki")
@example("", "0.0000000001", "")
@example("", "1.0001", "Ki")
@example("", "2.0000", "Ki")
@example("", "1.00001", "e0")
@example("", "10000000000", "T")
def test_the_cluster_stores_quantities_as_the_hooks_expect(sign: str, number: str, unit: str) -> None:
    text = sign + number + unit
    assert outcome(quantities.canonical, text) == outcome(quantity.canonical, text)
    assert outcome(quantities.parse, text) == outcome(quantity.parse, text)
    if sign != "-":
        assert outcome(quantities.canonical_amount, text) == outcome(quantity.canonical_amount, text)


@pytest.mark.parametrize(("text", "stored"), [("1000m", "1"), ("1.5Gi", "1536Mi"), (500, "500"), ("1e3", "1e3")])
def test_a_quantity_is_stored_in_its_largest_unit(text: str | int, stored: str) -> None:
    assert quantities.canonical(text) == stored


@pytest.mark.parametrize("value", [True, None, "", "m", "1_000", " 1", "1Kib", "1e1000", 1.5j])
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(quantities.QuantityError, match="is not a quantity"):
        quantities.canonical(value)  # type: ignore[arg-type]


def test_quantities_are_compared_by_what_they_are_worth() -> None:
    assert [quantities.compare(*each) for each in (("100m", "0.1"), ("1Ki", 1000), (1, "1k"))] == [0, 1, -1]
