"""What runs the steps of a run: processes on this machine, or Celery workers on several."""

import dagster as dg

from gpu_timing_assets.config.settings import Settings


def executor(settings: Settings) -> dg.ExecutorDefinition:
    """One step at a time: a simulation beside a measurement would be measured too."""
    if settings.executor == "celery":
        from dagster_celery import celery_executor

        broker = settings.celery_broker
        return _after_lost_runs(celery_executor).configured({"broker": broker, "backend": broker})
    return _after_lost_runs(dg.multiprocess_executor).configured({"max_concurrent": 1})


def _after_lost_runs(executor: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """The executor, after lost runs are ended: without a daemon they keep their pool's slot."""

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        from gpu_timing_assets.dagster_app.execution.lost_runs import end_lost_runs

        end_lost_runs(context.instance)
        assert executor.executor_creation_fn is not None
        return executor.executor_creation_fn(context)

    schema = executor.config_schema
    return dg.ExecutorDefinition(
        executor.name,
        schema,  # type: ignore[arg-type]
        executor.get_requirements,
        create,
        executor.description,
    )
