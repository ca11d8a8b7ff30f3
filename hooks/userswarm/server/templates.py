"""The folder of templates, read again when it changes, in a worker that goes on answering.

All of a folder is taken or none of it: what is wrong stops the start; later on the templates read last stay offered,
loudly. So does a folder in which a revision that was offered is no longer what it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from userswarm.spec.settings import Settings
from userswarm.spec.template.loading import load_templates, template_files
from userswarm.spec.template.revisions import Templates
from userswarm.web.files import Fingerprint, fingerprint

logger = logging.getLogger(__name__)


class OfferedTemplates:
    """The settings with the templates of their folder, which is looked at no more than once in `interval` seconds."""

    def __init__(
        self, settings: Settings, *, interval: float = 5.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._interval = interval
        self._monotonic = monotonic
        self._folder = settings.templates.source
        # Read again once by each worker: since the start, before the fork, something may have changed.
        self._seen: object = None
        self._look_again = monotonic() + interval

    def settings(self) -> Settings:
        """Return the settings as they are now."""
        if self._folder:
            now = self._monotonic()
            if now >= self._look_again:
                self._look_again = now + self._interval
                self._refresh()
        return self._settings

    def _refresh(self) -> None:
        before = self._settings.templates
        try:
            seen = _fingerprints(self._folder)
            if seen == self._seen:
                return
            self._seen = seen
            templates = load_templates(self._folder, before)
        except (OSError, ValueError) as error:
            logger.error("cannot read the templates again, those read before stay offered: %s", error)  # noqa: TRY400
            return
        if _contents(templates) != _contents(before):
            self._settings = replace(self._settings, templates=templates)
            logger.info("read the templates again: %d revisions of %s", len(templates.revisions), templates.names())


def _fingerprints(folder: str) -> list[tuple[str, Fingerprint]]:
    return [(str(path), fingerprint(path)) for path in template_files(Path(folder))]


def _contents(templates: Templates) -> object:
    return {key: (each.checksum, each.document) for key, each in templates.revisions.items()}
