"""Where the project's own manifests lie: in an installed wheel, or in a checkout.

The wheel carries the few that the code reads (pyproject.toml lists them), so nothing is written twice.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def manifest_path(relative: str) -> Path:
    """Return the path of ``manifests/<relative>``, for example ``crd/userswarms.crawbl.ai.yaml``.

    Raises FileNotFoundError where neither the wheel nor the checkout holds it.
    """
    for root in (_PACKAGE / "_manifests", _PACKAGE.parent.parent / "manifests"):
        path = root / relative
        if path.exists():
            return path
    raise FileNotFoundError(f"manifests/{relative} is neither in the installed package nor in a checkout around it")
