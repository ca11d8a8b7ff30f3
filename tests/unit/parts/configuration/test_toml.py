"""The layers of a runtime's config.toml."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from userswarm.parts.configuration.toml import MAX_LEVELS, find_toml_problem, render_config

BUILT_IN = {"gateway": {"host": "[::]", "port": 42617, "allow_public_bind": True, "require_pairing": False}}


def rendered(base: str = "", fields: dict[str, Any] | None = None, overrides: str = "", port: int = 42617) -> Any:
    return tomllib.loads(render_config(base, port, fields or {}, overrides))


def test_without_any_wish_the_runtime_listens_where_its_service_looks() -> None:
    assert rendered() == BUILT_IN
    assert rendered(port=8080)["gateway"]["port"] == 8080


@pytest.mark.parametrize(
    ("layers", "wins"),
    [
        ({}, None),
        ({"base": "default_model = 'base'"}, "base"),
        ({"fields": {"defaultModel": "field"}}, "field"),
        ({"base": "default_model = 'base'", "fields": {"defaultModel": "field"}}, "field"),
        ({"fields": {"defaultModel": "field"}, "overrides": "default_model = 'override'"}, "override"),
        ({"base": "default_model = 'base'", "overrides": "default_model = 'override'"}, "override"),
        ({"base": "default_model = 'base'", "overrides": "other = 1"}, "base"),
    ],
)
def test_the_later_layer_has_the_last_word(layers: dict[str, Any], wins: str | None) -> None:
    assert rendered(**layers).get("default_model") == wins


def test_a_table_meets_a_table_and_all_else_is_replaced_whole() -> None:
    config = rendered(
        base="list = [1, 2]\n[gateway]\nhost = '0.0.0.0'\n[a]\nkept = 1\nreplaced = { x = 1 }",
        overrides="list = [3]\n[gateway]\nrequire_pairing = true\n[a]\nreplaced = 'text'",
    )
    assert config == {
        "gateway": {**BUILT_IN["gateway"], "host": "0.0.0.0", "require_pairing": True},
        "list": [3],
        "a": {"kept": 1, "replaced": "text"},
    }
    assert rendered(base="a = 1", overrides="[a]\nb = 2")["a"] == {"b": 2}


def test_the_fields_have_their_names_in_toml() -> None:
    fields = {
        "defaultProvider": "anthropic",
        "defaultModel": "m",
        "defaultTemperature": 0.7,
        "agents": {
            "scribe": {"model": "x", "responseLength": "short", "allowedTools": ["read", "write"]},
            "empty": {},
        },
        "tomlOverrides": "ignored = true",
        "files": {"SOUL.md": "x"},
    }
    config = rendered(fields=fields)
    assert config == {
        **BUILT_IN,
        "default_provider": "anthropic",
        "default_model": "m",
        "default_temperature": 0.7,
        "agents": {
            "empty": {},
            "scribe": {"model": "x", "response_length": "short", "allowed_tools": ["read", "write"]},
        },
    }


@pytest.mark.parametrize("temperature", [1, 1.0, 0, 2])
def test_a_temperature_is_a_fraction_however_the_apiserver_writes_it(temperature: float) -> None:
    text = render_config("", 1024, {"defaultTemperature": temperature}, "")
    assert f"default_temperature = {float(temperature)}" in text.splitlines()


def test_no_agents_make_no_table() -> None:
    assert "agents" not in rendered(fields={"agents": {}})


def test_the_order_of_agents_in_the_spec_changes_no_byte() -> None:
    first = {"agents": {"a": {"model": "1"}, "b": {"model": "2"}}}
    second = {"agents": {"b": {"model": "2"}, "a": {"model": "1"}}}
    assert render_config("", 1024, first, "") == render_config("", 1024, second, "")


EDGES = """
plain = "x"
quotes = 'single "double" inside'
"quoted key.with dot" = 1
lines = '''
one
two'''
escaped = "tab\\t newline\\n bell\\u0007 del\\u007f"
unicode = "üΩ用🦀"
big = 9223372036854775807
hex = 0xff
float = 1e100
infinite = inf
day = 2026-11-20
time = 12:00:00
moment = 2026-11-20T12:00:00Z
mixed = [1, "a", [2.5], { k = true }]
[[tables]]
a = 1
[[tables]]
b.c.d = 2
[empty]
"""


def test_everything_toml_can_say_survives() -> None:
    assert rendered(overrides=EDGES) == {**BUILT_IN, **tomllib.loads(EDGES)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        EDGES,
        "[" + ".".join("a" * MAX_LEVELS) + "]\nb = 1",
        "a = " + "[" * MAX_LEVELS + "1" + "]" * MAX_LEVELS,
        "text = '" + "a." * 3 + "'",
        "\n".join(f"k{n} = {n}" for n in range(1000)),
    ],
)
def test_toml_of_a_usual_depth_is_no_problem(text: str) -> None:
    assert find_toml_problem(text) == ""
    render_config("", 1024, {}, text)


@pytest.mark.parametrize("text", ["BAD", "a = ", "a = 1\na = 2", "[a]\n[a]", "a = 'open", "a = 1 b = 2", "\x00"])
def test_what_is_no_toml_is_said_with_its_place(text: str) -> None:
    assert find_toml_problem(text).startswith("is not TOML: ")


DEEP = MAX_LEVELS + 1


@pytest.mark.parametrize(
    "text",
    [
        "[" + ".".join("a" * DEEP) + "]",
        "a." * DEEP + "a = 1",
        "a . " * DEEP + "a = 1",
        '"a".' * DEEP + "a = 1",
        "'a'." * DEEP + "a = 1",
        "a = " + "[" * (DEEP + 1) + "]" * (DEEP + 1),
        "a = " + "{ a = " * DEEP + "1" + " }" * DEEP,
        # Each of these would cost seconds, or end in a RecursionError.
        "a = " + "[" * 100_000,
        "[" + ".".join("a" * 100_000) + "]",
        ".".join("a" * 131_072) + " = 1",
    ],
    ids=lambda text: text[:12],
)
def test_toml_nested_too_deeply_is_refused_before_it_costs_anything(text: str) -> None:
    assert "nested too deeply" in find_toml_problem(text)


def test_tables_in_lists_under_long_keys_have_their_depth_counted_together() -> None:
    half = MAX_LEVELS // 2
    text = "[" + ".".join("a" * half) + "]\nb = " + "[" * (half + 1) + "]" * (half + 1)
    assert "nested too deeply" in find_toml_problem(text)
