"""The folder of templates: what a change of it does to a server that goes on answering."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import template_samples as samples
from userswarm.server.templates import OfferedTemplates
from userswarm.spec.settings import Settings


class Folder:
    """A folder of templates, with a clock that tests move."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 100.0
        self.write("a", samples.SMALL)
        settings = Settings.from_environment({"USERSWARM_TEMPLATES_DIR": str(path)})
        self.offered = OfferedTemplates(settings, interval=5.0, monotonic=lambda: self.now)

    def write(self, name: str, text: str) -> None:
        (self.path / f"{name}.yaml").write_text(text, encoding="utf-8")

    def numbers(self, later: float = 0.0) -> list[int]:
        self.now += later
        return self.offered.settings().templates.numbers("small")


def revision(number: int, **fields: object) -> str:
    return samples.changed(samples.SMALL, revision=number, **fields)


def test_a_new_revision_is_offered_without_a_restart(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("b", revision(2))
    assert folder.numbers() == [1]
    assert folder.numbers(later=5) == [1, 2]
    (tmp_path / "b.yaml").unlink()
    assert folder.numbers(later=5) == [1]


def test_the_settings_stay_the_same_object_while_nothing_changes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    before = folder.offered.settings()
    for _ in range(3):
        folder.now += 5
        assert folder.offered.settings() is before
    folder.write("a", samples.SMALL + "# another comment\n")
    folder.now += 5
    # Plans are remembered by it.
    assert folder.offered.settings() is before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (revision(2, volums=[]), "did you mean volumes?"),
        (revision(1, terminationGracePeriodSeconds=5), "is there twice"),
        ("a: [", "not YAML"),
    ],
)
def test_with_an_error_anywhere_what_was_read_before_stays_offered_loudly(
    tmp_path: Path, text: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(tmp_path)
    folder.write("b", revision(3))
    folder.write("c", text)
    with caplog.at_level(logging.INFO):
        assert folder.numbers(later=5) == [1]
        assert folder.numbers(later=5) == [1]
    assert [record.levelname for record in caplog.records] == ["ERROR"], "told once for each change"
    assert told in caplog.text
    folder.write("c", revision(4))
    assert folder.numbers(later=5) == [1, 3, 4]


def test_a_released_revision_that_changed_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder(tmp_path)
    folder.write("a", revision(1, terminationGracePeriodSeconds=5))
    assert folder.numbers(later=5) == [1]
    assert "terminationGracePeriodSeconds" not in folder.offered.settings().templates.revisions["small", 1].document
    assert "was released, and is not what it was" in caplog.text


def test_a_folder_that_goes_takes_no_template_with_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "a.yaml").unlink()
    tmp_path.rmdir()
    assert folder.numbers(later=5) == [1]
    assert "is no folder" in caplog.text


def test_without_a_folder_there_is_nothing_to_look_at() -> None:
    settings = Settings()
    assert OfferedTemplates(settings, interval=0).settings() is settings
