"""What a merge of any three TOML documents promises, in any layout that TOML allows."""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from userswarm.runtime.config_merge import merge_config, merge_values, parse_config, union
from userswarm.runtime.toml_edit import edit, same

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
    """Writes a table as TOML, with numbered comments in between: in one of its many layouts, or as people do.

    lines: what an ordinary layout says where: the path, the comment line right above or "", and the line itself.
    """

    def __init__(self, draw: st.DrawFn, *, is_ordinary: bool = False) -> None:
        self._draw = draw
        self._is_ordinary = is_ordinary
        self._comments = 0
        self.lines: list[tuple[Path, str, str]] = []

    def document(self, table: Table) -> str:
        pairs, blocks = self._table((), table)
        if self._is_ordinary:
            return "".join(pairs + blocks)
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
            style = self._draw(st.sampled_from(["header", "inline", "header" if self._is_ordinary else "dotted"]))
            if isinstance(value, dict) and style == "header":
                inner, sections = self._table(below, value)
                head = self._line(below, f"[{self._key(below)}]") if inner or not sections else ""
                blocks += [head + "".join(inner), *sections]
            elif isinstance(value, dict) and value and style == "dotted":
                pairs += [self._pair(path, (key, *rest), leaf) for rest, leaf in leaves(value)]
            elif is_array_of_tables(value) and style == "header":
                blocks.append("".join(self._element(below, element) for element in value))
            else:
                pairs.append(self._pair(path, (key,), value))
        return pairs, blocks

    def _element(self, path: Path, element: Table) -> str:
        lines = [self._line(path, f"[[{self._key(path)}]]")]
        tables = [key for key in element if isinstance(element[key], dict) and self._draw(st.booleans())]
        lines += [self._pair(path, (key,), value) for key, value in element.items() if key not in tables]
        for key in tables:
            lines.append(self._line(path, f"[{self._key((*path, key))}]"))
            lines += [self._pair(path, (inner,), value) for inner, value in element[key].items()]
        return "".join(lines)

    def _pair(self, section: Path, key: Path, value: Any) -> str:
        equals = self._draw(st.sampled_from(["=", " = ", "\t=  "]))
        return self._line((*section, *key), self._key(key) + equals + self._value(value))

    def _value(self, value: Any) -> str:
        if isinstance(value, list) and value and self._draw(st.booleans()):
            return "[ # kept with the array\n" + ",\n".join(map(self._value, value)) + ",\n]"
        if isinstance(value, str) and self._draw(st.booleans()):
            return '"""' + value_text(value)[1:-1].replace("\\n", "\n") + '"""'
        if isinstance(value, str) and not re.search(r"[\x00-\x1f\x7f']", value) and self._draw(st.booleans()):
            return f"'{value}'"
        return value_text(value)

    def _key(self, path: Path) -> str:
        dot = "." if self._is_ordinary else self._draw(st.sampled_from([".", " . "]))
        return dot.join(
            key_text(part) if self._is_ordinary or self._draw(st.booleans()) else value_text(part) for part in path
        )

    def _line(self, path: Path, text: str) -> str:
        before = self._draw(st.sampled_from(["", "\n", "  ", "\n\n", "# {}\n", "\n # {}\n", "# {}\n\n"]))
        behind = self._draw(st.sampled_from([" # {}\n"] if self._is_ordinary else ["\n", " \n", " # {}\n", "#{}\n"]))
        before, behind = self._numbered(before), self._numbered(behind)
        self.lines.append((path, "" if before.endswith("\n\n") else before.strip(), text + behind))
        return before + text + behind

    def _numbered(self, text: str) -> str:
        self._comments += 1
        return text.format(f"comment-{self._comments}-[x] = 'y'")


def key_text(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else value_text(part)


def value_text(value: Any) -> str:
    if isinstance(value, str):
        # JSON escapes what TOML wants escaped, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_text(key)} = {value_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else repr(value)


def is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)


def leaves(table: Table) -> Iterator[tuple[Path, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            for path, leaf in leaves(value):
                yield (key, *path), leaf
        else:
            yield (key,), value


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
def merges(draw: st.DrawFn) -> tuple[Table, Table, str]:
    live = draw(TABLES)
    return draw(relatives(live)), draw(relatives(live)), Layout(draw).document(live)


def at(table: Mapping[str, Any], path: Path) -> Any:
    value: Any = table
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


@given(merges())
def test_merged_document_says_what_the_merge_of_the_values_says(merge: tuple[Table, Table, str]) -> None:
    base, ours, live = merge
    wanted = merge_values(base, ours, tomllib.loads(live))

    assert same(tomllib.loads(merge_config(base, ours, live)), wanted)


@given(merges())
def test_every_key_that_we_set_has_our_value_and_type(merge: tuple[Table, Table, str]) -> None:
    base, ours, live = merge
    merged = tomllib.loads(merge_config(base, ours, live))

    for path, value in leaves(ours):
        # An empty table of ours may hold what the runtime put there.
        assert isinstance(at(merged, path), dict) if value == {} else same(at(merged, path), value)


@given(merges())
def test_what_only_the_volume_says_stays(merge: tuple[Table, Table, str]) -> None:
    base, ours, live = merge
    merged = tomllib.loads(merge_config(base, ours, live))

    for path, value in leaves(tomllib.loads(live)):
        ours_above = any(
            at(ours, path[:length]) is not None and not isinstance(at(ours, path[:length]), dict)
            for length in range(1, len(path) + 1)
        )
        if at(base, path) is None and at(ours, path) is None and not ours_above:
            assert same(at(merged, path), value)


@given(merges())
def test_what_we_set_last_time_and_no_longer_set_goes(merge: tuple[Table, Table, str]) -> None:
    base, ours, live = merge
    merged = tomllib.loads(merge_config(base, ours, live))

    for path, _value in leaves(base):
        if at(ours, path) is None:
            left = at(merged, path)
            # What may be left of it: tables in which the runtime has put something, never empty ones.
            assert left is None or (isinstance(left, dict) and left)


@given(merges())
def test_merging_again_changes_no_byte(merge: tuple[Table, Table, str]) -> None:
    base, ours, live = merge
    merged = merge_config(base, ours, live)

    assert merge_config(ours, ours, merged) == merged
    # As after a crash between the live file and the record of what was rendered.
    assert merge_config(base, ours, merged) == merged
    assert merge_config(union(base, ours), ours, merged) == merged


@given(TABLES, st.data())
def test_lines_of_an_ordinary_document_stay_in_order_where_they_need_no_change(
    table: Table, data: st.DataObject
) -> None:
    layout = Layout(data.draw, is_ordinary=True)
    live = layout.document(table)
    said = tomllib.loads(live)
    wanted = merge_values(data.draw(relatives(said)), data.draw(relatives(said)), said)
    edited = edit(live, said, wanted)

    assert edited is not None
    position = 0
    for path, above, line in sorted(layout.lines, key=lambda placed: live.index(placed[2])):
        before, after = at(said, path), at(wanted, path)
        is_header_of_both = line.startswith("[") and isinstance(before, dict) and isinstance(after, dict)
        if is_header_of_both or (before is not None and same(before, after)):
            for part in (above, line):
                assert part in edited[position:], part
                position = edited.index(part, position) + len(part)


@given(merges(), st.data())
def test_a_crash_before_the_record_is_written_is_made_good_by_the_next_rendering(
    merge: tuple[Table, Table, str], data: st.DataObject
) -> None:
    """The claim (the union of both renderings) stands for the record while the live file changes."""
    base, first, live = merge
    second = data.draw(relatives(first))

    uncrashed = merge_config(first, second, merge_config(base, first, live))
    claim = union(base, first)
    assert same(tomllib.loads(merge_config(claim, second, merge_config(base, first, live))), tomllib.loads(uncrashed))


@given(TABLES)
@example({"a": {}, "b": {"c": {"d": [{}]}}})
def test_document_written_plainly_says_the_same(table: Table) -> None:
    assert same(parse_config(tomli_w.dumps(table).encode())[1], table)


@given(VALUES)
def test_same_is_true_of_a_value_and_itself_only(value: Any) -> None:
    assert same(value, value)
    assert not same(value, [value])
    assert not same(value, math.pi)
