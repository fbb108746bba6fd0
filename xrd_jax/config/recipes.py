"""Named sets of choices that the paper leaves open: `--recipe`, on any case, data and ablation.

How they were found: docs/recipe.md. An experiment file, the other flags and --set win over a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping

RECIPES: Mapping[str, tuple[str, ...]] = {
    # The paper's words: min-max patterns, one value per regression target.
    "paper": (),
    # The least error on cycles that training never saw. Attention and VAW stay.
    "best": (
        "model.regression=histogram",  # hysteresis and an uncertain rate leave two voltages possible
        "train.point=median",  # the error that is reported is absolute
        "model.scaled=true",  # otherwise the softmax over keys is saturated and learns slowly
        "prepare.scale=sqrt",  # equal noise in every channel
        "train.redraw_frames=6",  # an average of fewer frames still carries photon noise
        "train.redraw_shift=0.002",
    ),
}
