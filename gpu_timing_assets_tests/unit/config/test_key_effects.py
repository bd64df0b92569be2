"""`docs/keys.md` says of every key what it does to a simulation."""

from gpu_timing_assets.config.key_effects import BACKEND, MODEL, rows, table
from gpu_timing_assets.config.model import ModelPreset
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.engines.vllm import VllmPreset


def test_every_key_of_engine_and_model_has_an_effect() -> None:
    assert VllmPreset.model_fields.keys() <= BACKEND.keys()
    assert ModelPreset.model_fields.keys() == MODEL.keys()


def test_no_key_stands_twice() -> None:
    keys = [key for key, _, _ in rows()]
    assert len(keys) == len(set(keys))


def test_the_documents_table_is_the_codes() -> None:
    assert table() in (PROJECT_ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
