"""The whole experiment as frozen data: what is simulated or read, prepared, built and trained.

A new field's default is what was done before the field existed, so that earlier runs open, resume and mean the same.
"""

import dataclasses
from typing import Literal

from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.config.limits import check_limits

CASE_TARGETS = {1: ("voltage",), 2: ("voltage", "mode"), 3: ("voltage", "mode", "rate")}


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """From a series to network inputs.

    Attributes:
      window_target, window_low, window_high: only patterns whose `window_target` lies in [low, high] are analysed;
        '' keeps all.
      scale: 'pattern' (min–max of each pattern), 'dataset' (min–max of the training patterns), 'total' (divided by the
        pattern's mean, so that flux cancels), 'sqrt' (variance-stabilised: 2 √(counts + 3/8) of 'total'), 'snv' (each
        pattern less its mean, divided by its standard deviation) or 'none'.
      scale_at: before ('input') or after ('output') resizing. After binning, the extremes that min–max divides by hold
        several channels' photons and are steadier; for a spline it makes no difference.
      resize: 'spline' samples a cubic spline, 'bin' shares channels between bins by their overlap (counts are
        summed, other intensities averaged), 'none' keeps every channel.
      channels: channels after resizing.
      centre: subtract the training mean of each channel and divide by one global standard deviation.
      baseline: method of pybaselines whose baseline is subtracted from every pattern, or 'none'.
      savgol, savgol_order, derivative: channels of a Savitzky–Golay filter (0: none), order of its polynomial, and
        which derivative of that is taken (0, 1 or 2).
      split: 'random', 'cycle' (one cycle of each session held out), 'block' (contiguous blocks), 'half_cycle' (one
        charge or discharge of each session held out), 'session' (one position, cell or rate held out), 'fold' (one of
        `blocks` random parts held out), 'leave_block' (one of `blocks` stretches of time of each session held out) or
        'rows' (those that `train_rows` and `test_rows` name).
      train_fraction, blocks: share of training patterns of 'random' and 'block'; blocks per session of 'block' and
        'leave_block', parts of 'fold'.
      part: which part 'fold' and 'leave_block' hold out, from 0; negative from the end.
      cycle, half_cycle: which cycle or half cycle is held out; 0 is the first of a session, -1 the last.
      session: name of the session that 'session' holds out; '' is the last.
      train_rows, test_rows: patterns of the series for 'rows', such as '0-171, 180'; rows in neither are not used.
      calibration: share of the training patterns that is held out of training, in whole blocks of time, to calibrate
        intervals and to choose the checkpoint; 0: none, and then no interval is promised.
      shuffle_labels: permute the targets among the training patterns: a control that has nothing to learn.
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
    split: Literal["random", "cycle", "block", "half_cycle", "session", "fold", "leave_block", "rows"] = "random"
    train_fraction: float = 0.5
    blocks: int = 20
    part: int = -1
    cycle: int = -1
    half_cycle: int = -1
    session: str = ""
    train_rows: str = ""
    test_rows: str = ""
    calibration: float = 0.0
    shuffle_labels: bool = False

    def __post_init__(self):
        check_limits("prepare", self)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network; every choice that the paper leaves open is a field.

    Attributes:
      depth, width, kernel: convolution layers, filters per layer, kernel length.
      padding: 'zeros', 'edge' or 'reflect'; output length equals input length.
      stride: input channels per position of the stack. Above 1 the first layer takes the step, with a kernel of twice
        the stride, and attention and VAW have one value for so many channels.
      norm_layer: the layer (from 1) that batch normalisation follows; 0 for none.
      norm_place: 'after' or 'before' the layer's ReLU.
      attention: 'softmax' (the paper's), 'faithful' (the same, and per target a map over the pattern itself that is
        taught to show what the network draws on), 'uniform' (every key weighs 1/L) or 'off' (the values go straight to
        the combination).
      query_layer, key_layer: layers (from 1) whose outputs are QUERY and KEY = VALUE.
      scaled, projections: divide the logits by √width; map query, key and value linearly by learned matrices.
      heads: attention heads; the attention matrix returned is their mean.
      combination: 'tanh' or 'identity'.
      pooling: 'flatten' or 'mean' over angle bins before the output layers.
      init: weight initialisation of the convolutions.
      dense: width of two dense layers from the whole pattern to the outputs, beside stack and attention; 0: none.
      likelihood: share, in the outputs' log-probabilities, of the likelihood of the training patterns (counts only,
        with regression=histogram); the rest is the network's. 0: the network alone.
      dropout: rate before the output layers.
      precision: 'float32', or 'bfloat16' for the products of convolutions and attention; parameters, sums, softmax,
        output layers and losses stay float32.
      regression: 'value' (one output per regression target, the paper's) or 'histogram' (a distribution over `bins`
        equal bins that span the training values).
    """

    depth: int = 10
    width: int = 32
    kernel: int = 4
    stride: int = 1
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
    dense: int = 0
    likelihood: float = 0.0
    dropout: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    regression: Literal["value", "histogram"] = "value"
    bins: int = 64

    def __post_init__(self):
        check_limits("model", self)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What is trained, and how.

    Attributes:
      estimator: 'network', or a simpler model instead, which everything below does not concern: 'pls' (partial least
        squares), 'ridge', 'gp' (a Gaussian process), 'trees', or 'auto', the one that cross-validation inside the
        training patterns takes. It chooses `prepare.scale` as well.
      epochs, batch_size, learning_rate: learning_rate is the peak of the schedule.
      schedule: 'onecycle' (linear warm-up over `warmup` of all steps, then cosine to zero) or 'constant'.
      weight_decay: for the optimiser 'adamw'.
      regression_scale: where log-cosh and Huber turn from quadratic to linear, in training standard deviations of the
        target.
      label_width: standard deviation, in bins, of the Gaussian that a histogram's label is smoothed with.
      point: what a histogram is reduced to where one value is asked for. The median has the least absolute error, the
        mean the least squared one.
      loss_weights: target name -> weight; what is not named weighs `regression_weight` or `class_weight`.
      own_weight: of the loss that teaches the maps of attention='faithful'.
      augment: 'none', or 'redraw': every pattern is replaced by a fresh Poisson draw around the average of its
        neighbouring training frames (counts only).
      redraw_frames: standard deviation of that average, in frames; 0: no average. What moves within it is blurred.
      redraw_rank: principal components of the training patterns that the average keeps, each of which then follows a
        local quadratic in time (`redraw_frames` may be twice as many); 0: every channel for itself.
      redraw_shift, redraw_flux: standard deviations of an extra zero shift (axis units) and relative flux.
      steps_per_call: optimisation steps per compiled call; 1 is fastest on a CPU, where a backward convolution inside
        `lax.scan` is some twenty times slower.
      seeds_per_call: networks that train at the same moment, which bounds the memory; the others take turns. 0: one per
        processor core or, on accelerators, what fits.
      batch_devices: devices that share every batch and take the mean of their gradients. 0: as many processor cores as
        have 16 patterns each, one accelerator or, where several processes train together, all that seeds leave idle.
      checkpoint_every, log_maps: epochs between checkpoints, and between VAW images in TensorBoard (0: none).
      log_test: epochs between points of the held-out curves in TensorBoard (0: none).
      checkpoint: which epoch the run is made of: the 'last', or the 'best' by the loss on the calibration patterns
        (`prepare.calibration`); never by the test set.
    """

    estimator: Literal["network", "pls", "ridge", "gp", "trees", "auto"] = "network"
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: Literal["onecycle", "constant"] = "onecycle"
    warmup: float = 0.3
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 1e-4
    regression_loss: Literal["log_cosh", "huber", "squared"] = "log_cosh"
    regression_scale: float = 1.0
    label_width: float = 0.75
    point: Literal["median", "mean"] = "median"
    loss_weights: dict[str, float] = dataclasses.field(default_factory=dict)
    regression_weight: float = 1.0
    class_weight: float = 0.3
    own_weight: float = 0.3
    augment: Literal["none", "redraw"] = "none"
    redraw_frames: float = 3.0
    redraw_rank: int = 0
    redraw_shift: float = 0.0
    redraw_flux: float = 0.0
    steps_per_call: int = 1
    seeds_per_call: int = 0
    batch_devices: int = 0
    checkpoint_every: int = 1
    log_maps: int = 10
    log_test: int = 5
    checkpoint: Literal["last", "best"] = "last"

    def __post_init__(self):
        check_limits("train", self)


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

    def __post_init__(self):
        check_limits("", self)

    def seed_list(self) -> list[int]:
        return list(range(self.seed, self.seed + self.seeds))
