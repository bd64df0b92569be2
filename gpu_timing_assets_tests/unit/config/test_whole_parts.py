"""An override of a whole part of a preset replaces it."""

import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.errors import PresetError


def test_another_kind_keeps_nothing_of_the_old_one() -> None:
    config = compose(["workload=smoke", "workload.arrivals={kind: all_at_once}"])
    assert config.workload.arrivals.model_dump() == {"kind": "all_at_once"}


def test_a_trace_can_be_tried_without_a_preset_file() -> None:
    config = compose(
        [
            "workload.source={kind: trace, format: azure_2023, path: my.csv}",
            "workload.workload_id=mine",
        ]
    )
    source = config.workload.source.model_dump(exclude_defaults=True)
    assert source == {"kind": "trace", "format": "azure_2023", "path": "my.csv"}


def test_a_key_of_the_new_part_can_be_changed_after_it() -> None:
    config = compose(
        ["workload.arrivals={kind: constant, rate_per_s: 2}", "workload.arrivals.rate_per_s=3"]
    )
    assert config.workload.arrivals.model_dump() == {"kind": "constant", "rate_per_s": 3.0}


def test_a_part_that_the_preset_leaves_out_can_be_given() -> None:
    config = compose(["workload=smoke", "workload.decode_lengths={kind: fixed, tokens: 7}"])
    assert config.workload.decode_lengths is not None
    assert config.workload.decode_lengths.model_dump() == {"kind": "fixed", "tokens": 7}


def test_a_part_of_the_same_kind_is_replaced_too() -> None:
    with pytest.raises(PresetError, match="rate_per_s: Field required"):
        compose(["workload=chat_poisson", "workload.arrivals={kind: poisson}"])
