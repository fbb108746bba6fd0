"""What a page shows of a study: the patterns that were explained, with every explanation as a layer."""

from __future__ import annotations

import numpy as np

from xrd_jax.analysis.intervals import Calibration
from xrd_jax.explain.study import Study
from xrd_jax.page import content
from xrd_jax.page.content import Content
from xrd_jax.page.trained import VAW, Outputs, pattern_names, target_panel

MAX_EXPLAINED = 400  # patterns of a page: there is a layer for each method and target, and it must fit into a mail
FULL = 0.995  # quantile of a map that is drawn at full strength: a few channels would leave the others pale


def of_study(study: Study, calibration: Calibration | None) -> Content:
    """Return the content of a study's page."""
    run, series = study.run, study.series
    rows = series.thinned(MAX_EXPLAINED)
    starts = content.channel_groups(series.axis.values.size, content.MAX_PATTERNS // 2)
    axis = content.averaged_axis(series.axis, starts)
    part = series.subset(rows)
    predicted = run.predict_with_maps(part)
    layers = {}
    if run.map_axis.size:
        layers[VAW] = content.on_axis(predicted.vaw.registered().mean(axis=0), run.map_axis, axis.values)
    for (method, target), maps in study.explained.maps.items():
        indices = study.explained.indices[method]
        middles = (indices[1:] + indices[:-1]) / 2
        full = float(np.nanquantile(maps, FULL)) or 1.0
        shown = np.clip(maps[np.searchsorted(middles, rows)] / full, 0.0, 1.0)
        layers[f"{method}, {target}"] = content.on_axis(shown, study.explained.centres, axis.values)
    outputs = Outputs(predicted.outputs, predicted.distributions, calibration)
    return Content(
        axis, content.averaged(series.intensity, rows, starts), "Counts" if series.is_counts else "Intensity",
        pattern_names(series, rows), np.zeros(rows.size, np.uint8), ("held out",),
        content.session_views(part.session, series.session_names, part.time, series.timed),
        tuple(target_panel(spec, outputs, part.targets[spec.name].values) for spec in run.specs), layers,
        {window.label: float(np.nanmean(window.centre)) for window in study.windows},
        content.sampling_sentence(series.intensity.shape, (rows.size, starts.size)),
    )  # fmt: skip
