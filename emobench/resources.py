"""Where things lie: the folders that ship with emobench, and the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from emobench.types import UserError

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """A shipped folder (``baselines``, ``tasks``, ``artifacts``): inside an installed package, beside it in a checkout.

    ``pyproject.toml`` maps the top-level folders into the wheel, so that they never become import names of their own.
    """
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def cache_dir() -> Path:
    """``$EMOBENCH_CACHE``, else ``emobench`` under the user's cache folder."""
    if chosen := os.environ.get("EMOBENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emobench"


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_disk(folder: Path, needed: int, purpose: str) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        UserError: fewer than ``needed`` bytes are free where ``folder`` is or will be.
    """
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{purpose} needs {needed / 1e6:.0f} MB of free disk under {existing}, which has {free / 1e6:.0f} MB; "
            "free some space or choose another folder (--out, or EMOBENCH_CACHE for the cache)."
        )
