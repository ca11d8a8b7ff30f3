"""The merge of config.toml, as its text looks before and after."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest
import tomlkit

from userswarm.runtime.config_merge import DEEPEST, merge_config, merge_values, parse_config, union
from userswarm.runtime.toml_edit import LARGEST, same

LIVE = """\
# Written by the runtime, edited by Ada.
default_model = "old"   # the cheap one

[gateway]
port = 42617
# host = "127.0.0.1"

# About agents: see the manual.
[agents.writer]
model = 'old'
temperature = 0x10

  [agents.reader]   # Ada's own
  model = "hers"
"""


def merged(base: str, ours: str, live: str) -> str:
    return merge_config(tomllib.loads(base), tomllib.loads(ours), live)


@pytest.mark.parametrize(
    ("base", "ours", "live", "expected"),
    [
        pytest.param("", "", LIVE, LIVE, id="nothing of ours, nothing changes"),
        pytest.param(
            "",
            'default_model = "new"',
            LIVE,
            LIVE.replace('"old"   #', '"new"   #'),
            id="our value takes the place of the old one, and the comment behind it stays",
        ),
        pytest.param("", "a = 1", "a = 1.0 # n\n", "a = 1 # n\n", id="the type is ours too"),
        pytest.param("", "a = true", "a = 1\n", "a = true\n", id="true is not 1"),
        pytest.param("", "a = 1", "a = 0x1 # hex\n", "a = 0x1 # hex\n", id="another spelling of our value stays"),
        pytest.param(
            "",
            "a = 2000-01-01T00:00:00Z",
            "a = 2000-01-01 01:00:00+01:00 # odd\n",
            "a = 2000-01-01T00:00:00Z # odd\n",
            id="the same instant in another zone is another value",
        ),
        pytest.param(
            "",
            'gateway.host = "[::]"',
            LIVE,
            LIVE.replace('host = "127.0.0.1"\n', 'host = "127.0.0.1"\nhost = "[::]"\n'),
            id="a new key follows the last of its table, above the comment of the next",
        ),
        pytest.param(
            'default_model = "old"',
            "",
            LIVE,
            LIVE.replace('default_model = "old"   # the cheap one\n', ""),
            id="a key that we no longer set goes with the comment behind it",
        ),
        pytest.param(
            'agents.writer.model = "x"\nagents.writer.temperature = 1',
            "",
            LIVE,
            LIVE.replace("# About agents: see the manual.\n[agents.writer]\nmodel = 'old'\ntemperature = 0x10\n\n", ""),
            id="a table that this leaves empty goes with the comment above it",
        ),
        pytest.param(
            'agents.writer.model = "x"',
            "",
            LIVE,
            LIVE.replace("model = 'old'\n", ""),
            id="a table in which the runtime put something stays",
        ),
        pytest.param("agents = 1", "", LIVE, LIVE, id="what the runtime put in the place of our value was never ours"),
        pytest.param("a = 1", "", "[a]\n", "", id="nothing in the place of our value is nothing to keep"),
        pytest.param("[a]", "", "[a]\nb = 1\n", "[a]\nb = 1\n", id="a key in a table that we left empty stays"),
        pytest.param("", "", "[a]\n", "[a]\n", id="an empty table of the runtime stays"),
        pytest.param(
            "[a.b]\nx = 1", "[a]", "[a.b]\nx = 1\n[c] # n\n", "[a]\n\n[c] # n\n", id="our own empty table stays"
        ),
        pytest.param(
            "",
            "agents = 1",
            LIVE,
            dedent("""\
                # Written by the runtime, edited by Ada.
                default_model = "old"   # the cheap one
                agents = 1

                [gateway]
                port = 42617
                # host = "127.0.0.1"

                """),
            id="tables give way to a value",
        ),
        pytest.param("", "a.b = 1", "a = 1 # n\nc = 2\n", "c = 2\n\n[a]\nb = 1\n", id="a value becomes a table"),
        pytest.param("", "a = 1", "a = { b = 1 } # n\n", "a = 1 # n\n", id="an inline table becomes a value"),
        pytest.param(
            "a.x = 1",
            "a.y = 2",
            "a = {z = 3, x = 1} # n\n",
            "a = {z = 3, y = 2} # n\n",
            id="an inline table stays one",
        ),
        pytest.param(
            "s.a.x = 1",
            "s.a.y = 2",
            "[s]\na.z = 3 # n\na.x = 1\nb = 1\n",
            "[s]\na.z = 3 # n\na.y = 2\nb = 1\n",
            id="dotted keys stay dotted",
        ),
        pytest.param(
            "",
            "a.x = 1",
            "[[o]]\n\n# About a.b\n[a.b]\ny = 2\n",
            "[[o]]\n\n[a]\nx = 1\n# About a.b\n[a.b]\ny = 2\n",
            id="a table that had no header gets one",
        ),
        pytest.param(
            "a.x = 1",
            "a.y = 2",
            "[a.one]\nk = 1\n[b]\n[a.two]\nk = 2\n[a]\nx = 1\n",
            "[a]\ny = 2\n\n[a.one]\nk = 1\n[b]\n[a.two]\nk = 2\n",
            id="tables may be scattered",
        ),
        pytest.param(
            "",
            "[a.new]\nk = 1\n[c]",
            "[a.one]\nk = 1\n\n# About b\n[b]\n",
            "[a.one]\nk = 1\n\n[a.new]\nk = 1\n# About b\n[b]\n\n[c]\n",
            id="a new table follows its sisters, or is the last",
        ),
        pytest.param(
            "",
            "[[m]]\nn = 1\n[m.sub]\ns = 2\n[[m]]\nn = 2",
            "a = 1\n[[m]] # first\nn = 0\n[m.sub]\n# note\n[z]\n",
            "a = 1\n[[m]]\nn = 1\n\n[m.sub]\ns = 2\n\n[[m]]\nn = 2\n# note\n[z]\n",
            id="an array of tables is one value, and stays where it is",
        ),
        pytest.param("", "[[m]]\nn = 1", "m = [1, # one\n 2] # n\n", "\n[[m]]\nn = 1\n", id="an array too"),
        pytest.param("[[m]]\nn = 1", "", "[[m]]\nn = 1\n\n[z]\n", "[z]\n", id="an array of tables goes whole"),
        pytest.param(
            "",
            "a.b = [1]",
            "[[a.b]]\nb = 1\n",
            "[a]\nb = [1]\n",
            id="an array of tables becomes an array",
        ),
        pytest.param(
            "",
            "a.b.x = 1",
            "[[a.b]]\nx = 1\n",
            "[a.b]\nx = 1\n",
            id="an array of tables becomes a table",
        ),
        pytest.param("", "[[a.b]]\nx = 1", "a.b.c = 1\n", "[[a.b]]\nx = 1\n", id="dotted keys become an array"),
        pytest.param(
            '"x y" = 1\n"" = 1',
            '"a.b".c = 2',
            '\'x y\' = 1\n"" = 2\n["a.b"]\nd = 1\n',
            '["a.b"]\nd = 1\nc = 2\n',
            id="quoted keys are the keys they quote",
        ),
        pytest.param(
            "", "m = 1", "m = [ # it's ] \"not\n 2 ] # n\n", "m = 1 # n\n", id="a comment in an array may say anything"
        ),
        pytest.param("", "a = 1", 'a = """x""""" # n\n', "a = 1 # n\n", id="a string may end with quotes of its own"),
        pytest.param("", "a = 1", "a = '''x''''' # n\n", "a = 1 # n\n", id="a literal string too"),
        pytest.param("", "b = 1", "a = 1", "a = 1\nb = 1\n", id="a last line without its end gets one"),
        pytest.param("", "b = 1\n[t]", "", "b = 1\n\n[t]\n", id="an empty file"),
        pytest.param(
            "", "b = 1", "# Top\n\n# Of t\n[t]\n", "# Top\nb = 1\n\n# Of t\n[t]\n", id="the first key of a document"
        ),
        pytest.param(
            "",
            "z = 1",
            'a = """\n# no comment\n[no.header]\n"quoted"""""\nb = \'\'\'\n\'[x]\'\'\'\'\n[t]\n',
            'a = """\n# no comment\n[no.header]\n"quoted"""""\nb = \'\'\'\n\'[x]\'\'\'\'\nz = 1\n\n[t]\n',
            id="strings of many lines are no statements",
        ),
        pytest.param(
            "",
            'a = "\\u007f\\u0001\\"é"\nb = [1.5, inf, 1979-05-27, 07:32:00, {}]',
            "",
            'a = "\\u007f\\u0001\\"é"\nb = [1.5, inf, 1979-05-27, 07:32:00, {}]\n',
            id="every kind of value can be written",
        ),
    ],
)
def test_merged_text_is(base: str, ours: str, live: str, expected: str) -> None:
    result = merged(base, ours, live)

    assert result == expected
    assert merged(ours, ours, result) == result


@pytest.mark.parametrize(
    ("base", "ours", "live", "expected"),
    [
        ({}, {"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}),
        ({"a": 1}, {}, {"a": 3}, {}),
        ({}, {}, {"a": 3}, {"a": 3}),
        ({"a": 1}, {"a": 1}, {}, {"a": 1}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1, "y": 2}}, {"a": {"y": 2}}),
        ({"a": {"x": 1}}, {"a": 1}, {"a": {"x": 1, "y": 2}}, {"a": 1}),
        ({"a": {"x": 1}}, {}, {"a": 7}, {}),
        ({"a": {"b": {"x": 1}}}, {}, {"a": {"b": {"x": 1}}}, {}),
        ({"a": {"b": {"x": 1}}}, {}, {"a": {"b": {"x": 1}, "c": {}}}, {"a": {"c": {}}}),
    ],
)
def test_merged_values_are(
    base: dict[str, Any], ours: dict[str, Any], live: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert merge_values(base, ours, live) == expected


def test_union_has_the_keys_of_both_and_prefers_tables() -> None:
    one = {"a": 1, "b": {"x": 1}, "c": 1, "d": {"x": 1}}
    other = {"a": 2, "b": {"y": 2}, "c": {"z": 3}, "d": 4, "e": 5}

    assert union(one, other) == {"a": 1, "b": {"x": 1, "y": 2}, "c": {"z": 3}, "d": {"x": 1}, "e": 5}
    assert one == {"a": 1, "b": {"x": 1}, "c": 1, "d": {"x": 1}}


def fail(*_arguments: Any) -> Any:
    raise AssertionError


@pytest.mark.parametrize("stage", ["parse", "dumps"])
@pytest.mark.parametrize(
    "broken", [lambda _text: tomlkit.document(), lambda _document: "a = 2\n", lambda _document: "no TOML", fail]
)
def test_where_tomlkit_fails_the_values_are_written_plainly(
    stage: str, broken: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tomlkit, stage, broken)

    assert merged("", "a = 1", "b.c = 2 # two\n") == "a = 1\n\n[b]\nc = 2\n"


def test_a_text_that_tomlkit_would_take_too_long_for_is_written_plainly() -> None:
    largest = "#" * (LARGEST - 1) + "\n"

    assert merged("", "a = 1", largest) == largest + "a = 1\n"
    assert merged("", "a = 1", "#" + largest) == "a = 1\n"
    assert merged("", "", "#" + largest) == "#" + largest


@pytest.mark.parametrize(
    "live",
    [
        "[a]\n[a.b]\nx = 1\n[c]\n[a.d]\nx = 1\n[a.b.e]\nx = 1\n[c.f]\n[a.d.g]\nx = 1\n",
        "[[a.b]]\nx = 1\n[c]\n[[a.b]]\nx = 2\n[a.b.d]\nx = 1\n",
        "a.b.x = 1\na.c = 2\n[a.d]\nx = 1\n[b]\n[a.d.e]\nx = 1\n",
        ".".join("a" * (DEEPEST - 2)) + " = 1\n",
        "x = " + "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2) + "\n",
    ],
)
@pytest.mark.parametrize("ours", ["a.x = 5", "a.b.x = 5", "a.d.x = 5\na.n.x = 1", "a = 5", "x = 5", "[a.d]\n[a.b]"])
def test_no_layout_leads_to_other_values(live: str, ours: str) -> None:
    said, set_now = tomllib.loads(live), tomllib.loads(ours)
    for base in ({}, said, set_now):
        assert same(tomllib.loads(merge_config(base, set_now, live)), merge_values(base, set_now, said))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a = ", "Invalid value"),
        (b"\xff", "utf-8"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested deeper than 64 levels"),
        (b"a = " + b"[" * DEEPEST + b"]" * DEEPEST, "nested deeper than 64 levels"),
        (b".".join([b"a"] * 500) + b" = 1", "nested deeper than 64 levels"),
        (b"a = 9223372036854775808", "64 bits"),
        (b"a = [{ b = -9223372036854775809 }]", "64 bits"),
        (b"a = " + b"9" * 5000, "digits"),
    ],
)
def test_a_config_that_no_runtime_could_read_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_config(content)


def test_a_config_is_read_to_the_limits() -> None:
    deepest = "a = " + "[" * (DEEPEST - 2) + "9223372036854775807" + "]" * (DEEPEST - 2)

    assert parse_config(b"\xef\xbb\xbf" + deepest.encode())[0] == deepest
