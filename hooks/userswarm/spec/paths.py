"""Directories inside a runtime's containers that are ours."""

from __future__ import annotations

CONFIG_DIRECTORY = "/etc/userswarm"
"""Where the init container finds the rendered configuration."""

TMP_DIRECTORY = "/tmp"  # noqa: S108 - an emptyDir of the Pod's own

TAKEN_DIRECTORIES = (CONFIG_DIRECTORY, TMP_DIRECTORY, "/dev", "/proc", "/sys", "/var/run/secrets")
