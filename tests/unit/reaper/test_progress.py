"""Progress is for eyes only."""

from __future__ import annotations

import io

from userswarm.reaper.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_that_is_rewritten_and_wiped() -> None:
    stream = Terminal()
    progress = Progress(stream)
    progress.show("listing the swarms: 500")
    progress.clear()

    assert stream.getvalue() == "\r\x1b[Klisting the swarms: 500\r\x1b[K"


def test_a_log_sees_nothing() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.show("listing the swarms: 500")
    progress.clear()

    assert stream.getvalue() == ""
