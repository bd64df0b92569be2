"""What the recording parts are called by, for processes that must not import vLLM to say it."""

SYNC_SCHEDULER = "gpu_timing_assets.engines.vllm.recording_scheduler.RecordingScheduler"
ASYNC_SCHEDULER = "gpu_timing_assets.engines.vllm.recording_scheduler.RecordingAsyncScheduler"
STEP_TIMER = "gpu_timing_assets.engines.vllm.step_timer.StepTimer"
RECORDING_VARIABLE = "GPU_TIMING_RECORDING"
FLUSH_REQUEST = "flush"
