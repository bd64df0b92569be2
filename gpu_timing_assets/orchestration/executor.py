"""What runs the steps of a run: processes on this machine, or Celery workers on several."""

import dagster as dg

from gpu_timing_assets.orchestration.settings import Settings


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """One step at a time in a run: a simulation beside a measurement on the same cores would be measured too."""
    if settings.executor == "celery":
        from dagster_celery import celery_executor

        broker = settings.celery_broker
        return celery_executor.configured({"broker": broker, "backend": broker})
    return dg.multiprocess_executor.configured({"max_concurrent": 1})
