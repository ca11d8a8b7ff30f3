"""One line on a terminal that says what is under way; silence where nobody watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TextIO

_CLEAR = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Progress:
    """Rewrites its line of `stream`, where that is a terminal."""

    stream: TextIO

    def show(self, words: str) -> None:
        self._write(_CLEAR + words)

    def clear(self) -> None:
        """Empty the line, so that what is printed next starts in column one."""
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        if self.stream.isatty():
            self.stream.write(text)
            self.stream.flush()
