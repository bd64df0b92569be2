"""An execution-time predictor for Vidur's registry that times whole steps, by a `StepTiming`."""

from dataclasses import dataclass

from vidur.config.config import BaseExecutionTimePredictorConfig
from vidur.execution_time_predictor.base_execution_time_predictor import BaseExecutionTimePredictor
from vidur.types import BaseIntEnum

from gpu_timing_assets.engine_loop.loop import StepTiming
from gpu_timing_assets.simulators.vidur_ext.batch import StepBatch


class PredictorType(BaseIntEnum):
    WHOLE_STEP = 100
    RANDOM_FOREST = 101


@dataclass
class StepPredictorConfig(BaseExecutionTimePredictorConfig):
    timing: StepTiming | None = None

    @staticmethod
    def get_type() -> PredictorType:
        return PredictorType(PredictorType.WHOLE_STEP)


class StepPredictor(BaseExecutionTimePredictor):
    """As long as the configured timing says, in seconds."""

    def get_execution_time(self, batch: StepBatch, pipeline_stage: int) -> float:  # type: ignore[override]
        return self._config.timing.duration_s(batch.step)

    # Vidur's base class is abstract in the operators of a layer, of which this one makes no use
    def _unused(self, batch: StepBatch) -> float:
        raise NotImplementedError("whole steps are timed")

    _get_attention_layer_pre_proj_execution_time = _get_attention_layer_post_proj_execution_time = (
        _unused
    )
    _get_attention_rope_execution_time = _get_attention_kv_cache_save_execution_time = _unused
    _get_attention_decode_execution_time = _get_attention_prefill_execution_time = _unused
    _get_mlp_layer_up_proj_execution_time = _get_mlp_layer_down_proj_execution_time = _unused
    _get_mlp_layer_act_execution_time = _get_tensor_parallel_communication_time = _unused
    _get_pipeline_parallel_communication_time = _get_mlp_norm_layer_act_execution_time = _unused
    _get_attn_norm_layer_act_execution_time = _get_add_layer_act_execution_time = _unused
    _get_kv_parallel_communication_time = _unused
