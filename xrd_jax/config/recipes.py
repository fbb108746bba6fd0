"""Named sets of choices that the paper leaves open: `--recipe`, on any case, data and ablation.

How they were found: docs/recipe.md. An experiment file, the other flags and --set win over a recipe.
"""

from collections.abc import Mapping

RECIPES: Mapping[str, tuple[str, ...]] = {
    # The paper's words: min-max patterns, one value per regression target.
    "paper": (),
    # The least error on held-out patterns. Attention and VAW stay.
    "best": (
        "model.regression=histogram",  # hysteresis and an uncertain rate leave two voltages possible
        "train.point=median",  # the error that is reported is absolute
        "model.scaled=true",  # otherwise the softmax over keys is saturated and learns slowly
        "model.stride=4",  # six times as many epochs in the same time
        "model.dense=512",
        "prepare.scale=sqrt",  # equal noise in every channel
        "train.redraw_frames=6",  # an average of fewer frames still carries photon noise
        "train.epochs=100",
    ),
}
# A random half leaves every held-out frame between two training frames that share its drift: no shift is new there.
SHIFTS: Mapping[str, Mapping[str, float]] = {"paper": {}, "best": {"random": 0.0}}


def recipe_fields(name: str, split: str) -> list[str]:
    """Return `key=value` texts of a recipe for a split."""
    shifts = SHIFTS[name]
    return [*RECIPES[name], *([f"train.redraw_shift={shifts[split]}"] if split in shifts else [])]
