"""What a record says of the software and the machine that made it."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "nnsight", "numpy", "scipy", "safetensors", "gguf")


def emobench_version() -> str:
    """The installed version, or ``unknown`` in a bare source tree."""
    try:
        return version("emobench")
    except PackageNotFoundError:
        return "unknown"


@cache
def code_hash() -> str:
    """SHA-256 over the package's own Python files, so that a record tells one state of the code from another."""
    total = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        total.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return total.hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of emobench, of Python and of the packages that a result depends on."""
    known = {name: version(name) for name in PACKAGES}
    return {"emobench": emobench_version(), "python": platform.python_version(), **known}


def versions() -> dict[str, str]:
    """The package versions, and the hash of emobench's own code."""
    return {**package_versions(), "code": code_hash()}


def hardware() -> dict[str, Any]:
    """Processor, cores and accelerator."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}
