"""The whole experiment as frozen data: what is simulated or read, prepared, built, trained and reported."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.errors import UserError

CASE_TARGETS = {1: ("voltage",), 2: ("voltage", "mode"), 3: ("voltage", "mode", "rate")}


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """From a series to network inputs.

    Attributes:
      window_target, window_low, window_high: only patterns whose `window_target` lies in [low, high] are analysed;
        '' keeps all.
      scale: 'pattern' (min–max of each pattern), 'dataset' (min–max of the training patterns), 'total' (divided by the
        pattern's mean, so that flux cancels) or 'sqrt' (variance-stabilised: 2 √(counts + 3/8), then 'total');
        'snv' (each pattern less its mean, by its own standard deviation) and 'none' are usual for other spectra.
      scale_at: scale before ('input') or after ('output') resizing. After binning, the extremes that min–max divides by
        hold several channels' photons and are steadier; for a spline it makes no difference.
      resize: 'spline' samples a cubic spline, 'bin' averages with exact overlap, 'none' keeps every channel.
      channels: channels after resizing.
      centre: subtract the training mean of each channel and divide by one global standard deviation.
      baseline: method of pybaselines whose baseline is subtracted from every pattern, or 'none'.
      savgol, savgol_order: channels and polynomial order of a Savitzky–Golay filter; 0 for none.
      derivative: 0, 1 or 2; that of the filter's polynomial.
      split: 'random' half, 'cycle' (last cycle of each session held out), 'block' (contiguous blocks), 'half_cycle'
        (one charge or discharge of each session held out) or 'rows' (those that `train_rows` and `test_rows` name).
      train_fraction: share of patterns used for training by 'random' and 'block'.
      blocks: number of contiguous blocks per session for 'block'.
      half_cycle: which half cycle 'half_cycle' holds out; 0 is the first of a session, -1 the last.
      train_rows, test_rows: patterns of the series for 'rows', such as '0-171, 180'; rows in neither are not used.
      shuffle_labels: deal the training patterns' targets out anew among them: a control that has nothing to learn.
    """

    window_target: str = ""
    window_low: float = float("-inf")
    window_high: float = float("inf")
    scale: Literal["pattern", "dataset", "total", "sqrt", "snv", "none"] = "pattern"
    scale_at: Literal["input", "output"] = "output"
    resize: Literal["spline", "bin", "none"] = "spline"
    channels: int = 256
    centre: bool = True
    baseline: Literal["none", "airpls", "arpls", "asls", "fabc", "iasls", "modpoly", "mor", "snip"] = "none"
    savgol: int = 0
    savgol_order: int = 2
    derivative: int = 0
    split: Literal["random", "cycle", "block", "half_cycle", "rows"] = "random"
    train_fraction: float = 0.5
    blocks: int = 20
    half_cycle: int = -1
    train_rows: str = ""
    test_rows: str = ""
    shuffle_labels: bool = False


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network; every gap that the paper leaves is a field.

    Attributes:
      depth, width, kernel: convolution layers, filters per layer, kernel length.
      padding: 'zeros', 'edge' or 'reflect'; output length equals input length.
      norm_layer: the layer (from 1) that batch normalisation follows; 0 for none.
      norm_place: 'after' or 'before' the layer's ReLU.
      attention: 'softmax' (the paper's), 'faithful' (the same, and per target a map over the pattern itself that is
        taught to show what the network draws on), 'uniform' (every key weighs 1/L) or 'off' (the values go straight to
        the combination).
      query_layer, key_layer: layers (from 1) whose outputs are QUERY and KEY = VALUE.
      scaled: divide the logits by √width.
      projections: learned linear maps of query, key and value.
      heads: attention heads; the attention matrix returned is their mean.
      combination: 'tanh' or 'identity'.
      pooling: 'flatten' or 'mean' over angle bins before the output layers.
      init: weight initialisation of the convolutions.
      dropout: rate before the output layers.
      precision: 'float32', or 'bfloat16' for the products of convolutions and attention; parameters, sums, softmax,
        output layers and losses stay float32.
    """

    depth: int = 10
    width: int = 32
    kernel: int = 4
    padding: Literal["zeros", "edge", "reflect"] = "zeros"
    norm_layer: int = 7
    norm_place: Literal["after", "before"] = "after"
    norm_momentum: float = 0.9
    attention: Literal["softmax", "faithful", "uniform", "off"] = "softmax"
    query_layer: int = 6
    key_layer: int = 10
    scaled: bool = False
    projections: bool = False
    heads: int = 1
    combination: Literal["tanh", "identity"] = "tanh"
    pooling: Literal["flatten", "mean"] = "flatten"
    init: Literal["he_normal", "glorot_uniform", "lecun_normal"] = "he_normal"
    dropout: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimisation.

    Attributes:
      epochs, batch_size, learning_rate: learning_rate is the peak of the schedule.
      schedule: 'onecycle' (linear warm-up over `warmup` of all steps, then cosine to zero) or 'constant'.
      optimiser: 'adam', 'adamw' or 'sgd'.
      weight_decay: for 'adamw'.
      regression_loss: 'log_cosh', 'huber', 'squared'.
      regression_scale: where log-cosh and Huber turn from quadratic to linear, in training standard deviations of the
        target.
      loss_weights: target name -> weight; what is not named weighs `regression_weight` or `class_weight`.
      own_weight: of the loss of the network's own maps, where it has any.
      augment: 'none', or 'redraw': every pattern is replaced by a fresh Poisson draw around the average of its
        neighbouring training frames (counts only).
      redraw_frames: standard deviation of that average, in frames; 0: no average. What moves within it is blurred.
      redraw_shift: standard deviation of an extra zero shift, in axis units.
      redraw_flux: standard deviation of an extra relative flux.
      steps_per_call: optimisation steps per compiled call; 1 is fastest on a CPU, where a backward convolution inside
        `lax.scan` is some twenty times slower.
      seeds_per_call: networks that train at the same moment, which bounds the memory; the others take turns. 0: one per
        processor core or, on accelerators, what fits.
      batch_devices: devices that share every batch and take the mean of their gradients. 0: as many processor cores as
        have 16 patterns each, one accelerator or, where several processes train together, all that seeds leave idle.
      checkpoint_every: epochs between checkpoints.
      log_maps: epochs between VAW images in TensorBoard; 0 for none.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["onecycle", "constant"] = "onecycle"
    warmup: float = 0.3
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 1e-4
    regression_loss: Literal["log_cosh", "huber", "squared"] = "log_cosh"
    regression_scale: float = 1.0
    loss_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    regression_weight: float = 1.0
    class_weight: float = 0.3
    own_weight: float = 0.3
    augment: Literal["none", "redraw"] = "none"
    redraw_frames: float = 3.0
    redraw_shift: float = 0.0
    redraw_flux: float = 0.0
    steps_per_call: int = 1
    seeds_per_call: int = 0
    batch_devices: int = 0
    checkpoint_every: int = 1
    log_maps: int = 10


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    Attributes:
      name: names the default run directory and the reports.
      case: 1, 2 or 3 of the paper, which sets `targets`.
      targets: names of the targets to learn.
      data: path of an experiment file (.toml) or a saved series (.h5); '' simulates `cell`.
      data_root: where relative paths of the experiment file start.
      seed: first seed; `seeds` of them are trained side by side: seed, seed + 1, …
      split_seed: seed of the random split, the same for every network seed.
    """

    name: str = "case3"
    case: int = 3
    targets: tuple[str, ...] = CASE_TARGETS[3]
    data: str = ""
    data_root: str = ""
    seed: int = 0
    seeds: int = 1
    split_seed: int = 0
    cell: Cell = PRESETS["default"]
    prepare: PrepareConfig = PrepareConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    def seed_list(self) -> list[int]:
        return list(range(self.seed, self.seed + self.seeds))


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as JSON-able nested dictionaries; infinities become strings."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_dict(cls: type, values: Mapping[str, Any]) -> Any:
    """Inverse of `to_dict`. Raises UserError for unknown keys."""
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise UserError(f"unknown configuration key '{key}'{_suggest(key, hints)}")
    return cls(**{key: _coerce(key, value, hints[key]) for key, value in values.items()})


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Applies `key=value` texts.

    A key is a dotted path ('train.epochs', 'cell.exposure_s', 'train.loss_weights.mode') or, where only one field has
    that name, its last part ('epochs').

    Raises:
      UserError: a key or value that does not fit, with the nearest key.
    """
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: write key=value, such as --set train.epochs=20")
        config = set_field(config, key.strip(), value.strip())
    return config


def set_field(config: Config, key: str, value: Any) -> Config:
    """One field replaced; see `override` for the form of `key`."""
    paths = _paths(config)
    known = key in paths or any(key.startswith(path + ".") for path, kind in paths.items() if get_origin(kind) is dict)
    if not known:
        matches = [path for path in paths if path.rsplit(".", 1)[-1] == key]
        if len(matches) != 1:
            hint = f"; it could be {' or '.join(matches)}" if matches else _suggest(key, paths)
            raise UserError(f"unknown configuration key '{key}'{hint}")
        key = matches[0]
    return _replace(config, key.split("."), value, key)


def replace_fields(record: Any, fields: Mapping[str, Any]) -> Any:
    """A configuration dataclass with `fields` replaced. Raises UserError for an unknown one, with the nearest name."""
    known = typing.get_type_hints(type(record))
    for key in fields:
        if key not in known:
            raise UserError(f"unknown field '{key}'{_suggest(key, known)}")
    return dataclasses.replace(record, **fields)


def _replace(node: Any, path: list[str], value: Any, key: str) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(node, dict):
        return node | {head: _coerce(key, value, float)}
    current = getattr(node, head)
    if rest:
        return dataclasses.replace(node, **{head: _replace(current, rest, value, key)})
    return dataclasses.replace(node, **{head: _coerce(key, value, typing.get_type_hints(type(node))[head])})


def _paths(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted path of every settable field -> its type."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            found |= _paths(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = hint
    return found


def _coerce(key: str, value: Any, hint: Any) -> Any:
    """`value` (text, JSON value or Python value) as the type that the field declares."""
    if dataclasses.is_dataclass(hint):
        return value if dataclasses.is_dataclass(value) else from_dict(typing.cast(type, hint), value)
    origin = get_origin(hint)
    try:
        if origin is Literal:
            if value not in get_args(hint):
                raise UserError(f"{key}={value}: use one of {', '.join(map(str, get_args(hint)))}")
            return value
        if origin is dict:
            value = json.loads(value) if isinstance(value, str) else value
            return {str(k): float(v) for k, v in value.items()}
        if origin is tuple:
            return _tuple(key, value, get_args(hint))
        if hint is bool:
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if hint is int and float(value) != int(float(value)):
            raise ValueError
        return int(float(value)) if hint is int else hint(value)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{key}={value}: expected {getattr(hint, '__name__', hint)}") from None


def _tuple(key: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = (
            json.loads(value) if value.lstrip().startswith("[") else [v.strip() for v in value.split(",") if v.strip()]
        )
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_coerce(key, v, kinds[0]) for v in value)
    if len(kinds) != len(value):
        raise ValueError
    return tuple(_coerce(key, v, kind) for v, kind in zip(value, kinds, strict=True))


def _suggest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    names = {path.rsplit(".", 1)[-1]: path for path in known}
    near = difflib.get_close_matches(key, known, 1) or [
        names[n] for n in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(names), 1)
    ]
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(names))}"
