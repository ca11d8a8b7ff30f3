"""Tables for people, JSON for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import orjson

Value = str | int | float | None


class Report:
    """Rows by table; every table is printed as soon as it is whole."""

    def __init__(self) -> None:
        self._tables: dict[str, list[Mapping[str, Value]]] = {}

    def add(self, title: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Print a table; the columns are the keys of the first row."""
        self._tables[title] = list(rows)
        columns = list(rows[0])
        lines = [columns, *([_text(row.get(column)) for column in columns] for row in rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
        click.echo(f"\n{title}")
        for line in lines:
            first, *others = (
                text.ljust(width) if place == 0 else text.rjust(width)
                for place, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            click.echo("  ".join((first, *others)).rstrip())

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        document = {"machine": machine(), "tables": self._tables}
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def machine() -> dict[str, Value]:
    """Say where this runs, and how busy it is."""
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _text(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else value
