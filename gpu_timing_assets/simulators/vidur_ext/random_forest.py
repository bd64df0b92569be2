"""Vidur's own random forest, as it comes, on this project's bundle: the baseline.

Only where it gets its data from is overridden, the bundle in place of a hub, and the search for its
parameters, which are given. It knows the layers' kernels (and all-reduces, with Vidur's own launch
overhead) alone: no embedding, lm_head, sampler or QK-norm, no host, no padding to captured graphs.
Its tables of predictions are kept as CSV beside the data (never as pickles), by the bundle's and
the settings' hash.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import ParameterGrid
from vidur.config.config import RandomForrestExecutionTimePredictorConfig
from vidur.execution_time_predictor.random_forrest_execution_time_predictor import (
    RandomForrestExecutionTimePredictor,
)

from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.manifest import verify_directory
from gpu_timing_assets.core.tables.schemas import ALL_REDUCE, ATTENTION, MLP
from gpu_timing_assets.engine_loop.cuda_graphs import EAGER
from gpu_timing_assets.engine_loop.loop_timing import set_times_without_host
from gpu_timing_assets.simulators.vidur_ext.batch import StepBatch
from gpu_timing_assets.simulators.vidur_ext.step_predictor import PredictorType

FOREST_SEED = 0


@dataclass
class RandomForestConfig(RandomForrestExecutionTimePredictorConfig):
    """`kernels_dir` has `mlp.csv`, `attention.csv`, `bundle_dir` `all_reduce.csv` of a bundle of
    several devices; `tables_dir` keeps what the forests predict.
    """

    kernels_dir: str = ""
    bundle_dir: str = ""
    tables_dir: str = ""
    # one of the 27 forests among which Vidur searches for half an hour on two cores
    num_estimators: list[int] = field(default_factory=lambda: [250])
    max_depth: list[int] = field(default_factory=lambda: [32])
    min_samples_split: list[int] = field(default_factory=lambda: [2])

    @staticmethod
    def get_type() -> PredictorType:
        return PredictorType(PredictorType.RANDOM_FOREST)


class RandomForestPredictor(RandomForrestExecutionTimePredictor):
    """Times a step by Vidur's formula; a result is there when its kernels are done."""

    def _get_estimator(self) -> RandomForestRegressor:
        # Vidur leaves it open, and trains another forest each time
        return RandomForestRegressor(random_state=FOREST_SEED)

    def _train_model(  # type: ignore[no-untyped-def]
        self, model_name, model_type, df, feature_cols, target_col
    ) -> RandomForestRegressor:
        # Vidur's search fits its one candidate ten times more, to choose it
        [candidate] = ParameterGrid(self._get_grid_search_params())
        forest = self._get_estimator().set_params(**candidate)
        return forest.fit(df[feature_cols], df[target_col])

    def _load_predictions_from_hf(self) -> dict[str, dict[tuple[int, ...], float]]:  # type: ignore[override]
        """An earlier simulation's tables; FileNotFoundError without, or where they are not as they
        were filed: Vidur then trains.
        """
        directory = Path(self._config.tables_dir)
        files = sorted(directory.glob("*.csv"))
        if not files:
            raise FileNotFoundError(f"no tables of predictions in {directory}: they are made now")
        try:
            verify_directory(directory)
        except ArtifactError as error:
            raise FileNotFoundError(f"{error}: they are made anew") from None
        tables = {}
        for file in files:
            frame = pd.read_csv(file)
            values = frame.pop("prediction").tolist()
            keys = map(tuple, frame.to_numpy().tolist())
            tables[file.stem] = dict(zip(keys, values, strict=True))
        return tables

    def _train_models(self):  # type: ignore[no-untyped-def]
        self._cache_dir = tempfile.mkdtemp(prefix="vidur-")
        return super()._train_models()

    def _predict_from_models(self, models):  # type: ignore[no-untyped-def]
        try:
            tables = super()._predict_from_models(models)
        finally:
            shutil.rmtree(self._cache_dir, ignore_errors=True)
        with atomic_directory(Path(self._config.tables_dir)) as scratch:
            for name, table in tables.items():
                columns = [f"x{i}" for i in range(len(next(iter(table))))]
                frame = pd.DataFrame(list(table), columns=columns)
                frame["prediction"] = list(table.values())
                frame.to_csv(scratch / f"{name}.csv", index=False)
        return tables

    def _get_input_files(self) -> tuple[str, str, str, str]:  # type: ignore[override]
        kernels = Path(self._config.kernels_dir)
        bundle = Path(self._config.bundle_dir)
        reduces = str(ALL_REDUCE.find(bundle)) if ALL_REDUCE.is_in(bundle) else ""
        return str(MLP.find(kernels)), str(ATTENTION.find(kernels)), reduces, ""

    def _load_all_reduce_df(self, file_path: str) -> pd.DataFrame:
        return self._read_input_file(file_path)

    def _get_all_reduce_df_with_derived_features(self, df: pd.DataFrame) -> pd.DataFrame:
        # Vidur derives the tokens from bytes
        return df

    def get_execution_time(self, batch: StepBatch, pipeline_stage: int) -> float:  # type: ignore[override]
        batch.step.graph_mode = EAGER
        execution_s = super().get_execution_time(batch, pipeline_stage).total_time
        return set_times_without_host(batch.step, execution_s)
