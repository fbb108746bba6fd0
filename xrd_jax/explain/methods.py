"""The methods of explanation by name: what they show, what they need, and which of them a network allows.

Methods of hidden layers (`HIDDEN_LAYER_METHODS`) are registered to input channels; all others live there.

  own_attention         what a network with input attention (model.attention=faithful) is taught to draw itself
  vaw                   largest weight that each query gives, each pattern 0…1
  attention_received    mean weight that each key gets
  attention_norm        that weight times the length of the value (Kobayashi et al. 2020)
  attention_gradient    weights times their positive gradient, summed over queries (Chefer et al. 2021)
  gradient              dy/dx
  gradient_noise        (dy/dx)² var(x), the Fisher information that the network draws from noisy channels
  ensemble_noise        (dy_i/dx) (dy_j/dx) var(x), mean over all pairs of seeds, 0 where negative: the information that
                        networks agree on; what each does by chance drops out
  gradient_input        (dy/dx) (x - mean)
  integrated_gradients  along the line from the mean pattern (Sundararajan et al. 2017)
  contrast_gradients    along the line from the nearest pattern of another label
  expected_gradients    along lines from random patterns (Erion et al. 2021)
  smooth_gradient       mean gradient around the pattern (Smilkov et al. 2017)
  grad_cam              features of the key layer weighed by their mean gradient (Selvaraju et al. 2017)
  occlusion             change of the output when 8 channels become their mean

Controls know no trained network: `random` (one draw per channel and seed), `intensity`, `variance`, and any method on
the run that `attribution.untrained` gives.
"""

from collections.abc import Sequence

from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError

MapKey = tuple[str, str]  # (method, target)

METHODS: tuple[str, ...] = (
    "vaw", "attention_received", "attention_norm", "attention_gradient", "gradient", "gradient_noise",
    "ensemble_noise", "gradient_input", "integrated_gradients", "contrast_gradients", "expected_gradients",
    "smooth_gradient", "grad_cam", "occlusion",
)  # fmt: skip
CONTROLS: tuple[str, ...] = ("random", "intensity", "variance")
INPUT_ATTENTION = "own_attention"
ENSEMBLE = "ensemble_noise"
ATTENTION_METHODS = ("vaw", "attention_received", "attention_norm", "attention_gradient")
HIDDEN_LAYER_METHODS = (*ATTENTION_METHODS, "grad_cam")
GRADIENT_METHODS = ("attention_gradient", "gradient", "gradient_noise", "gradient_input", "grad_cam")
ONE_PASS_METHODS = {*HIDDEN_LAYER_METHODS, *GRADIENT_METHODS}
# Methods that cost tens of passes through the network: `accumulate.collect` takes them on some patterns only.
COSTLY_METHODS = (
    "integrated_gradients", "contrast_gradients", "expected_gradients", "smooth_gradient", "occlusion"
)  # fmt: skip


def available_methods(run: Run) -> tuple[str, ...]:
    """Return the methods that the network allows: without attention, none of its maps; of trees no gradients."""
    if run.choice is not None:
        no_layers = tuple(name for name in METHODS if name not in HIDDEN_LAYER_METHODS)
        return ("occlusion",) if run.choice.estimator == "trees" else no_layers
    attention = run.config.model.attention
    methods = tuple(name for name in METHODS if not (attention == "off" and name in ATTENTION_METHODS))
    return (INPUT_ATTENTION, *methods) if attention == "faithful" else methods


def checked_methods(run: Run, methods: Sequence[str]) -> tuple[str, ...]:
    """Return `methods` in the order of `METHODS` and `CONTROLS`, each once.

    Raises:
      UserError: an unknown method, or one that the network does not allow.
    """
    every = (INPUT_ATTENTION, *METHODS, *CONTROLS)
    for name in methods:
        if name not in every:
            raise UserError(f"method '{name}' is not known; use some of {', '.join(every)}")
    available, attention = available_methods(run), run.config.model.attention
    if refused := ", ".join(name for name in methods if name not in (*available, *CONTROLS)):
        what = f"this network has none (model.attention={attention})"
        if run.choice is not None:
            lacking = "gradients" if len(available) == 1 else "layers"
            what = f"{run.choice.estimator} has none, because it has no {lacking}"
        raise UserError(f"{refused}: {what}; use {', '.join(available)}")
    return tuple(name for name in every if name in methods)
