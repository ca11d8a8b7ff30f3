"""What the lab's hooks offer: the samples, and a revision of one that cannot start."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from contract.rendered import MANIFESTS

SOUND, BAD = 1, 2
"""Revisions of `http-agent`; nobody gets the second one by himself."""


def offer_templates(place: Path) -> Path:
    """Fill a folder, and return it."""
    shutil.copytree(MANIFESTS / "samples" / "templates", place)
    sound = yaml.safe_load((place / "http-agent" / "1.yaml").read_text(encoding="utf-8"))
    (main,) = sound["containers"]
    bad = {
        **sound,
        "revision": BAD,
        "candidate": True,
        "containers": [{**main, "image": "registry.invalid/$(param.image)"}],
    }
    (place / "http-agent" / "2.yaml").write_text(yaml.safe_dump(bad, sort_keys=False), encoding="utf-8")
    return place
