"""What holds for every configuration, however its layers are written."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from userswarm.parts.configuration.toml import MAX_LEVELS, find_toml_problem, render_config

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(
    TEXTS,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False),
    st.dates(min_value=date(1, 1, 1)),
    st.times(),
    st.datetimes(timezones=st.just(UTC)),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
TABLES = st.dictionaries(
    st.one_of(TEXTS, st.sampled_from(["gateway", "agents", "default_model", "a"])), VALUES, max_size=4
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "defaultProvider": TEXTS,
        "defaultModel": TEXTS,
        "defaultTemperature": st.one_of(st.integers(0, 2), st.floats(0, 2)),
        "agents": st.dictionaries(
            st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True),
            st.fixed_dictionaries(
                {}, optional={"model": TEXTS, "responseLength": TEXTS, "allowedTools": st.lists(TEXTS, max_size=3)}
            ),
            max_size=3,
        ),
    },
)


def merged(below: Any, above: Any) -> Any:
    """Say the rule in another way than the code does."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {
        key: merged(below[key], above[key])
        if key in below and key in above
        else (above if key in above else below)[key]
        for key in (*below, *(key for key in above if key not in below))
    }


@given(TABLES, FIELDS, TABLES)
def test_what_is_rendered_parses_to_the_layers_merged(base: Any, fields: Any, overrides: Any) -> None:
    only_fields = tomllib.loads(render_config("", 42617, fields, ""))
    config = tomllib.loads(render_config(tomli_w.dumps(base), 42617, fields, tomli_w.dumps(overrides)))

    built_in = tomllib.loads(render_config("", 42617, {}, ""))
    wanted = merged(merged(built_in, base), {key: only_fields[key] for key in only_fields if key != "gateway"})
    assert config == merged(wanted, overrides)


@given(TABLES, FIELDS)
def test_rendering_is_deterministic_and_rendering_again_changes_nothing(base: Any, fields: Any) -> None:
    once = render_config(tomli_w.dumps(base), 1024, fields, "")
    assert render_config(tomli_w.dumps(base), 1024, fields, "") == once
    assert render_config(once, 1024, fields, once) == once


@given(TABLES)
def test_any_table_of_a_usual_depth_may_be_an_override(overrides: Any) -> None:
    assert find_toml_problem(tomli_w.dumps(overrides)) == ""


@given(st.text(st.sampled_from("a.[]={}\"' \n1#,"), max_size=200))
def test_what_is_no_problem_renders_and_what_is_one_is_said(text: str) -> None:
    if not find_toml_problem(text):
        tomllib.loads(render_config("", 1024, {}, text))


@given(st.integers(0, 2 * MAX_LEVELS), st.sampled_from(["header", "key", "list", "inline"]))
def test_depth_is_counted_the_same_however_it_is_written(levels: int, form: str) -> None:
    keys = ["a"] * levels
    match form:
        case "header":
            text = f"[{'.'.join(keys)}]\n" if keys else ""
        case "key":
            text = ".".join([*keys, "a"]) + " = 1"
        case "list":
            text = "a = " + "[" * levels + "]" * levels if levels else "a = 1"
        case _:
            text = "a = " + "{ a = " * levels + "1" + " }" * levels
    assert (find_toml_problem(text) == "") is (levels <= MAX_LEVELS)


def test_times_without_a_zone_survive_too() -> None:
    text = tomli_w.dumps({"day": date(2026, 1, 1), "time": time(1, 2, 3), "moment": datetime(2026, 1, 1)})  # noqa: DTZ001
    assert tomllib.loads(render_config("", 1024, {}, text))["moment"] == datetime(2026, 1, 1)  # noqa: DTZ001
