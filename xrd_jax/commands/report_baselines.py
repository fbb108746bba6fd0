"""What a run is put beside: baselines of its training patterns and, of a simulated cell, the best that is possible."""

from collections.abc import Sequence

from xrd_jax.config.cell import Cell
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.estimators.baselines import Scores, evaluate
from xrd_jax.information.posterior import score_patterns
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.record import PatternSeries

POSTERIOR = "posterior"


def all_baselines(prepared: Prepared, config: PrepareConfig, specs: Sequence[TargetSpec]) -> tuple[Scores, list[str]]:
    """Return `estimators.baselines.evaluate`, last of all the exact posterior where it is known, and lines about it."""
    scores = evaluate(prepared, config, specs)
    cell, series = _cell_of(prepared.series), prepared.series
    if cell is None or series.intensity.shape[1] != cell.channels:
        return scores, []
    exact = score_patterns(cell, config, series, prepared.test)
    if exact is None or not {spec.name for spec in specs} <= set(exact.scores):
        return scores, []
    kinds = {spec.name: "mae" if spec.kind == "regression" else "accuracy" for spec in specs}
    scores[POSTERIOR] = {name: {kind: exact.scores[name]} for name, kind in kinds.items()}
    return scores, [
        f"the exact posterior is that of {exact.patterns} evenly spaced test patterns of {prepared.test.size}, among "
        f"{exact.states} evenly spaced states of the cell"
    ]


def _cell_of(series: PatternSeries) -> Cell | None:
    """Return the cell whose simulation a series is, without a decoy; None for measured data."""
    record = series.provenance.get("cell")
    try:
        cell = from_dict(Cell, record) if isinstance(record, dict) else None
    except UserError:  # of another version
        return None
    return None if cell is None or cell.decoy or not series.is_counts else cell
