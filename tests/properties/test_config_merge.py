"""What a merge of any three TOML documents promises, in any layout that TOML allows."""

from __future__ import annotations

import datetime
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import tomlkit
from hypothesis import example, given
from hypothesis import strategies as st

from userswarm.runtime.config_merge import merge_config, merge_values, parse_config, union
from userswarm.runtime.toml_edit import edit, same
from userswarm.runtime.toml_scan import scan
from userswarm.runtime.toml_write import document_text, has_headers, key_text, value_text

Table = dict[str, Any]
Path = tuple[str, ...]

# Few keys, so that three documents often mean the same one; odd keys, so that quoting matters.
KEYS = st.sampled_from(["a", "b", "c", "d-1", "", "x y", "a.b", 'q"#', "é", "'"])

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ['"""', "'''", "#", "[a]", "\\", "\n# no comment\n", "\x7f", "= 1", "{", "]"]
)
ZONES = st.sampled_from([None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=-7, minutes=-30))])
SCALARS = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 1)
    | st.floats()
    | TEXTS
    | st.datetimes(timezones=ZONES).map(lambda moment: moment.replace(fold=0))
    | st.dates()
    | st.times().map(lambda moment: moment.replace(fold=0))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=3), max_size=5)


class Layout:
    """Writes a table as TOML in one of its many layouts, with numbered comments in between."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.comments: list[str] = []

    def document(self, table: Table) -> str:
        pairs, blocks = self._table((), table)
        text = "".join(pairs + self._draw(st.permutations(blocks)))
        if self._draw(st.booleans()):
            text = text.rstrip("\n")
        return text.replace("\n", self._draw(st.sampled_from(["\n", "\r\n"])))

    def _table(self, path: Path, table: Table) -> tuple[list[str], list[str]]:
        """Return the lines of a table's own section and the blocks of those below it."""
        pairs: list[str] = []
        blocks: list[str] = []
        for key, value in table.items():
            below = (*path, key)
            style = self._draw(st.sampled_from(["header", "inline", "dotted"]))
            if isinstance(value, dict) and style == "header":
                inner, sections = self._table(below, value)
                blocks += sections
                if inner or not sections:
                    blocks.append(self._line(f"[{self._key(below)}]") + "".join(inner))
            elif isinstance(value, dict) and value and style == "dotted":
                pairs += [self._pair((key, *rest), leaf) for rest, leaf in leaves(value)]
            elif has_headers(value) and style == "header":
                blocks.append("".join(map(self._element(below).__call__, value)))
            else:
                pairs.append(self._pair((key,), value))
        return pairs, blocks

    def _element(self, path: Path) -> Any:
        def write(element: Table) -> str:
            lines = [self._line(f"[[{self._key(path)}]]")]
            tables = [key for key in element if isinstance(element[key], dict) and self._draw(st.booleans())]
            lines += [self._pair((key,), value) for key, value in element.items() if key not in tables]
            for key in tables:
                lines.append(self._line(f"[{self._key((*path, key))}]"))
                lines += [self._pair((inner,), value) for inner, value in element[key].items()]
            return "".join(lines)

        return write

    def _pair(self, path: Path, value: Any) -> str:
        equals = self._draw(st.sampled_from(["=", " = ", "\t=  "]))
        return self._line(self._key(path) + equals + self._value(value))

    def _value(self, value: Any) -> str:
        if isinstance(value, list) and value and self._draw(st.booleans()):
            return "[ # kept with the array\n" + ",\n".join(map(self._value, value)) + ",\n]"
        if isinstance(value, str) and self._draw(st.booleans()):
            return '"""' + value_text(value)[1:-1].replace("\\n", "\n") + '"""'
        if isinstance(value, str) and not re.search(r"[\x00-\x1f\x7f']", value) and self._draw(st.booleans()):
            return f"'{value}'"
        return value_text(value)

    def _key(self, path: Path) -> str:
        return self._draw(st.sampled_from([".", " . "])).join(
            key_text((part,)) if self._draw(st.booleans()) else value_text(part) for part in path
        )

    def _line(self, text: str) -> str:
        before = self._draw(st.sampled_from(["", "\n", "  ", "\n\n", "# {}\n", "\n # {}\n", "# {}\n\n"]))
        behind = self._draw(st.sampled_from(["\n", " \n", " # {}\n", "#{}\n"]))
        return self._numbered(before) + text + self._numbered(behind)

    def _numbered(self, text: str) -> str:
        if "{}" not in text:
            return text
        self.comments.append(f"comment-{len(self.comments)}-[x] = 'y'")
        return text.format(self.comments[-1])


def leaves(table: Table) -> Iterator[tuple[Path, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            for path, leaf in leaves(value):
                yield (key, *path), leaf
        else:
            yield (key,), value


def keys_of(table: Table) -> list[Path]:
    return [path for path, _ in leaves(table)]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    layout = Layout(draw)
    text = layout.document(draw(TABLES))
    return text, layout.comments


@st.composite
def relatives(draw: st.DrawFn, table: Table) -> Table:
    """A table with much in common with another, as the next rendering has with the last."""
    result: Table = {}
    for key, value in table.items():
        fate = draw(st.sampled_from(["keep", "keep", "change", "drop", "inside"]))
        if fate == "change":
            result[key] = draw(VALUES)
        elif fate == "inside" and isinstance(value, dict):
            result[key] = draw(relatives(value))
        elif fate != "drop":
            result[key] = value
    return result | draw(st.dictionaries(KEYS, VALUES, max_size=2))


@st.composite
def merges(draw: st.DrawFn) -> tuple[Table, Table, str, list[str]]:
    text, comments = draw(documents())
    live = tomllib.loads(text)
    return draw(relatives(live)), draw(relatives(live)), text, comments


def at(table: Mapping[str, Any], path: Path) -> Any:
    value: Any = table
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


@given(documents())
def test_scan_finds_every_statement_of_a_document_and_nothing_else(document: tuple[str, list[str]]) -> None:
    text, comments = document
    statements = scan(text)

    rest = text
    for statement in reversed(statements):
        if not statement.is_header:
            said = tomllib.loads("value = " + text[statement.value])
            # What is in an array of tables has no path to it.
            if at(tomllib.loads(text), statement.path) is not None:
                assert same(at(tomllib.loads(text), statement.path), said["value"])
        rest = rest[: statement.start] + rest[statement.end :]
    assert tomllib.loads(rest) == {}
    found = [statement.comment for statement in statements if statement.comment]
    assert len(found) + len(re.findall("#", re.sub(r"#.*", "#", rest))) == len(comments)


@given(merges())
def test_merged_document_says_what_the_merge_of_the_values_says(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    wanted = merge_values(base, ours, tomllib.loads(live))

    assert same(tomllib.loads(merge_config(base, ours, live)), wanted)


@given(merges())
def test_edit_alone_gets_it_right_so_the_layout_is_never_given_up(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    said = tomllib.loads(live)
    wanted = merge_values(base, ours, said)

    assert same(tomllib.loads(edit(live, said, wanted)), wanted)


@given(merges())
def test_another_reader_of_toml_reads_the_same(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    try:
        tomlkit.parse(live)
    except tomlkit.exceptions.ParseError:
        return  # tomlkit does not read every layout that the generator makes; then it says nothing about ours.
    merged = merge_config(base, ours, live)

    # Values it may spell in its own ways (time zones, say), keys not.
    assert set(keys_of(tomlkit.parse(merged).unwrap())) == set(keys_of(tomllib.loads(merged)))


@given(merges())
def test_every_key_that_we_set_has_our_value_and_type(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    merged = tomllib.loads(merge_config(base, ours, live))

    for path, value in leaves(ours):
        # An empty table of ours may hold what the runtime put there.
        assert isinstance(at(merged, path), dict) if value == {} else same(at(merged, path), value)


@given(merges())
def test_what_only_the_volume_says_stays(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    merged = tomllib.loads(merge_config(base, ours, live))

    for path, value in leaves(tomllib.loads(live)):
        ours_above = any(
            at(ours, path[:length]) is not None and not isinstance(at(ours, path[:length]), dict)
            for length in range(1, len(path) + 1)
        )
        if at(base, path) is None and at(ours, path) is None and not ours_above:
            assert same(at(merged, path), value)


@given(merges())
def test_what_we_set_last_time_and_no_longer_set_goes(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    merged = tomllib.loads(merge_config(base, ours, live))

    for path, _value in leaves(base):
        if at(ours, path) is None:
            left = at(merged, path)
            # What may be left of it: tables in which the runtime has put something, never empty ones.
            assert left is None or (isinstance(left, dict) and left)


@given(merges())
def test_merging_again_changes_no_byte(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, _ = merge
    merged = merge_config(base, ours, live)

    assert merge_config(ours, ours, merged) == merged
    # As after a crash between the live file and the record of what was rendered.
    assert merge_config(base, ours, merged) == merged
    assert merge_config(union(base, ours), ours, merged) == merged


@given(merges())
def test_no_comment_is_lost(merge: tuple[Table, Table, str, list[str]]) -> None:
    base, ours, live, comments = merge
    merged = merge_config(base, ours, live)

    assert [comment for comment in comments if merged.count(comment) != 1] == []


@given(merges())
def test_statements_that_need_no_change_keep_every_byte_and_their_order(
    merge: tuple[Table, Table, str, list[str]],
) -> None:
    base, ours, live, _ = merge
    merged = merge_config(base, ours, live)
    values = tomllib.loads(merged)
    said = tomllib.loads(live)

    position = 0
    for statement in scan(live):
        value = at(said, statement.path)
        if not statement.is_header and value is not None and same(value, at(values, statement.path)):
            line = live[statement.start : statement.end].rstrip("\r\n")
            position = merged.find(line, position) + len(line)
            assert position >= len(line), line


@given(merges(), st.data())
def test_a_crash_before_the_record_is_written_is_made_good_by_the_next_rendering(
    merge: tuple[Table, Table, str, list[str]], data: st.DataObject
) -> None:
    """The claim (the union of both renderings) stands for the record while the live file changes."""
    base, first, live, _ = merge
    second = data.draw(relatives(first))

    uncrashed = merge_config(first, second, merge_config(base, first, live))
    claim = union(base, first)
    assert same(tomllib.loads(merge_config(claim, second, merge_config(base, first, live))), tomllib.loads(uncrashed))


@given(TABLES)
@example({"a": {}, "b": {"c": {"d": [{}]}}})
def test_document_written_anew_says_the_same(table: Table) -> None:
    text, said = parse_config(document_text(table).encode())

    assert same(said, table)
    assert all(statement.comment == "" for statement in scan(text))


@given(VALUES)
def test_same_is_true_of_a_value_and_itself_only(value: Any) -> None:
    assert same(value, value)
    assert not same(value, [value])
    assert not same(value, math.pi)
