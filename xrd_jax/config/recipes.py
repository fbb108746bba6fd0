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
        "model.likelihood=0.8",  # of the training patterns, which says most of it without any training
        "prepare.scale=sqrt",  # equal noise in every channel
        "train.redraw_rank=25",  # what is left of the photon noise is that of so few scores
        "train.redraw_frames=12",
        "train.redraw_shift=0.005",  # the zero of a cycle that was not seen
        "train.epochs=40",
    ),
}
# A random half leaves every held-out frame between two training frames that share its drift: no shift is new there, and
# the network, which learns the drift as well, has more to say.
FOR_SPLIT: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "paper": {},
    "best": {"random": ("train.redraw_shift=0", "model.likelihood=0.5")},
}


def recipe_fields(name: str, split: str) -> list[str]:
    """Return `key=value` texts of a recipe for a split."""
    return [*RECIPES[name], *FOR_SPLIT[name].get(split, ())]
