"""Quantities are written as the apiserver writes them, and worth what Kubernetes says they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from userswarm.errors import QuantityError
from userswarm.spec.quantity import canonical, canonical_amount, compare, parse, parse_non_negative

PRINTED_BY_KUBERNETES = Path(__file__).parents[4] / "shared" / "quantities.tsv"

# Printed by Kubernetes; one row at least for every rule.
STORED = {
    # plain numbers
    "0": "0",
    "161": "161",
    "1000": "1k",
    "1007": "1007",
    "2048": "2048",
    "1000000": "1M",
    "100000000000": "100G",
    "9223372036854775807": "9223372036854775807",
    # fractions
    ".5": "500m",
    "0.1": "100m",
    "0.13": "130m",
    "2.50": "2500m",
    "2.712": "2.712",
    "100.5m": "100500u",
    # decimal units
    "1000m": "1",
    "1500m": "1500m",
    "10000u": "10m",
    "1000000u": "1",
    "700n": "700n",
    "700k": "700k",
    "4096k": "4096k",
    "1000M": "1G",
    "15.50G": "15500M",
    "10.366G": "10.366G",
    "0.90P": "900T",
    "2E": "2E",
    "0.56E": "560P",
    "503G": "503G",
    # beyond E there is no unit, and Kubernetes loses the exponent
    "100E": "100E",
    "1000000000T": "1",
    "10000000000T": "10",
    # finer than nano is rounded up
    "0.20n": "1n",
    "0.68n": "1n",
    "12.50n": "13n",
    "39.640n": "40n",
    "0.60u": "600n",
    # decimal exponents
    "1e3": "1e3",
    "1.2e2": "120",
    "1.5e3": "1500",
    "200e1": "2e3",
    "100e2": "10e3",
    "0.76e1": "7600e-3",
    "0.38e-3": "380e-6",
    "1e-1": "100e-3",
    "10E": "10E",
    "10E3": "10E3",
    "10E-3": "10E-3",
    "10000e9": "10e12",
    "1000000e6": "1e12",
    # binary units
    "10.0Gi": "10Gi",
    "1024Mi": "1Gi",
    "2097152Ki": "2Gi",
    "1000Ki": "1000Ki",
    "1031Mi": "1031Mi",
    "1000000000Ki": "1000000000Ki",
    "1.5Gi": "1536Mi",
    "17.50Ki": "17920",
    "0.75Gi": "768Mi",
    "7Ei": "7Ei",
    # a binary unit that does not come out whole is written decimally
    "1.1Gi": "1181116006400m",
    "0.1Mi": "104857600m",
    "0.07Ti": "76965813944320m",
    # binary units end at 2^63-1
    "8Ei": "9223372036854775807",
    "10.59Ei": "9223372036854775807",
    "100000000Ti": "9223372036854775807",
}

# Not in the file above; from the same rules.
ALSO_STORED = {
    "007": "007",
    "+5": "+5",
    "5.": "5.",
    "1.Gi": "1.Gi",
    "0.500": "500m",
    "1.500": "1.500",
    "1.5000": "1500m",
    "0.000": "0",
    "-0": "0",
    "0Ki": "0",
    "0.9Ki": "921600m",
    "1Ki": "1Ki",
    "0.0009765625Ki": "1",
    "1000E": "1",
    "1234567890123456789": "1234567890123456789",
    # as written up to 18 digits, or 14 with those of a binary unit
    "123456789.123456500": "123456789.123456500",
    "1234567890.123456500": "1234567890123456500n",
    "0012Ti": "0012Ti",
    "00123Ti": "123Ti",
    # below 1024 binary is decimal
    "0.9765625Ki": "1k",
    "1.000000000000000000": "1",
    "-5": "-5",
    "-1500m": "-1500m",
    "-0.1n": "-1n",
    "-1.5Gi": "-1536Mi",
    "-1024": "-1024",
    "-1024Ki": "-1Mi",
    "-9Ei": "-9223372036854775807",
    "-1.1Gi": "-1181116006400m",
    "-1000m": "-1",
}

REFUSED = [
    "",
    " ",
    "m",
    "Gi",
    ".",
    "+",
    "-",
    "1K",
    "1gi",
    "1ki",
    "1 Gi",
    " 1",
    "1\n",
    "1_000",
    "1,5",
    "1.2.3",
    "--1",
    "1e",
    "1e+",
    "1e1.5",
    "1mm",
    "0x10",
    "NaN",
    "inf",
    "\u0661",
    "1" * 257,
    "1e1000",
    "1e-1000",
]


@pytest.mark.parametrize(("written", "stored"), (STORED | ALSO_STORED).items())
def test_quantity_is_written_as_kubernetes_stores_it(written: str, stored: str) -> None:
    assert canonical(written) == stored


@pytest.mark.parametrize(
    ("written", "stored"),
    {
        "1n": "1m",
        "1500u": "2m",
        "1e-9": "1e-3",
        "1.0000000001": "1001m",
        "2.712": "2.712",
        "2.712000": "2712m",
        "0.0001Ki": "103m",
        "100m": "100m",
        "1.1Gi": "1181116006400m",
        "0": "0",
    }.items(),
)
def test_an_amount_of_a_resource_is_stored_in_thousandths_at_the_finest(written: str, stored: str) -> None:
    assert canonical_amount(written) == stored


def test_every_line_that_kubernetes_printed_is_met() -> None:
    if not PRINTED_BY_KUBERNETES.exists():
        pytest.skip(f"{PRINTED_BY_KUBERNETES} is not there; the table in this file has a row for every rule")
    lines = PRINTED_BY_KUBERNETES.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]

    differing = [(written, stored, ours) for written, stored in rows if (ours := canonical_or_err(written)) != stored]

    assert len(rows) > 200
    assert differing == []


def canonical_or_err(written: str) -> str:
    try:
        return canonical(written)
    except QuantityError:
        return "ERR"


@pytest.mark.parametrize("written", REFUSED)
def test_what_is_no_quantity_is_refused(written: str) -> None:
    with pytest.raises(QuantityError, match="is not a quantity"):
        canonical(written)
    with pytest.raises(QuantityError, match="is not a quantity"):
        parse(written)


@pytest.mark.parametrize("value", [True, 1.5, None, 10**300, -(10**300), ["1"]])
def test_only_texts_and_whole_numbers_are_quantities(value: object) -> None:
    with pytest.raises(QuantityError, match="is not a quantity"):
        canonical(value)  # type: ignore[arg-type]


def test_whole_number_means_the_same_as_its_text() -> None:
    assert [canonical(number) for number in (0, 1, 1000, -3, 2**63)] == ["0", "1", "1k", "-3", "9223372036854775808"]
    assert parse(1) == 1
    # True equals 1 and must not be answered from what was remembered for it.
    with pytest.raises(QuantityError):
        parse(True)


def test_refusal_names_the_value_and_examples_and_stays_short() -> None:
    with pytest.raises(QuantityError, match=r"^'1K' is not a quantity; accepted are .* such as 500m, .*2Gi"):
        canonical("1K")
    with pytest.raises(QuantityError) as refusal:
        canonical("x" * 100_000)
    assert len(str(refusal.value)) < 250
    with pytest.raises(QuantityError) as refusal:
        canonical(-(10**4000))
    assert len(str(refusal.value)) < 250


def test_longest_text_and_largest_exponents_are_still_read() -> None:
    assert parse("9" * 256) == 10**256 - 1
    assert parse("1e999") == 10**999
    assert parse("1e-999") == Fraction(1, 10**9)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("2", 2),
        ("1.5Gi", 3 * 2**29),
        ("-1Ki", -1024),
        ("1e3", 1000),
        ("1E", 10**18),
        ("10000000000T", 10**22),
        ("0.1n", Fraction(1, 10**9)),
        ("1.5n", Fraction(2, 10**9)),
        ("0.0000000001Ki", Fraction(103, 10**9)),
        ("8Ei", 2**63 - 1),
        ("9.5Ei", 2**63 - 1),
        ("-8Ei", -(2**63) + 1),
    ],
)
def test_value_is_exact_after_kubernetes_rounding_and_capping(written: str, value: Fraction) -> None:
    assert parse(written) == value


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("100m", "0.1", 0),
        ("1Gi", "1024Mi", 0),
        ("1Gi", "1G", 1),
        ("999m", 1, -1),
        ("1e3", "1k", 0),
        ("0.30000000000000001", "0.3", 1),
        ("-1", "0", -1),
        ("9007199254740993", "9007199254740992", 1),
    ],
)
def test_comparison_is_exact(left: str | int, right: str | int, order: int) -> None:
    assert compare(left, right) == order
    assert compare(right, left) == -order


def test_negative_quantity_is_refused_where_none_is_wanted() -> None:
    assert parse_non_negative("0") == 0
    assert parse_non_negative("2Gi") == 2**31
    with pytest.raises(QuantityError, match="'-1Gi' is negative; accepted are zero and more"):
        parse_non_negative("-1Gi")
