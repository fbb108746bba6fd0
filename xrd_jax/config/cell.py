"""The simulated experiment as data: chemistry, trajectory, source, axis, exposure, peak heights, nuisances, seed.

No JAX here: the configuration and `--help` import this module.

References:
  [1] G. Hölzer et al., Phys. Rev. A 56, 4554 (1997): Kα lines of the 3d metals (Cu, Co).
  [2] R. D. Deslattes et al., Rev. Mod. Phys. 75, 35 (2003): X-ray transition energies (Mo).
  [3] A. O. Kondrakov et al., J. Phys. Chem. C 121, 3286 (2017): lattice of NMC111 and NMC811 while cycling.
  [4] M. P. Mercer et al., J. Mater. Chem. A 9, 492 (2021): graphite staging and its hysteresis.
"""

import dataclasses
import math
from typing import Any

from xrd_jax.errors import UserError

# Kα1, Kα2 in Å [1, 2]; weight 2 : 1.
K_ALPHA = {"Cu": (1.540593, 1.544427), "Co": (1.788996, 1.792835), "Mo": (0.709317, 0.713607)}

# (x_Li, a in Å, c in Å) of the R-3m hexagonal cell. The values are those commonly tabulated for the solid solutions;
# for NMC811 the decline of c at the end of charge agrees with [3]. They are not a refinement of one data set.
NMC532 = (
    (0.2, 2.815, 14.200), (0.3, 2.8165, 14.380), (0.4, 2.820, 14.470), (0.5, 2.828, 14.465),
    (0.6, 2.836, 14.425), (0.8, 2.854, 14.320), (1.0, 2.870, 14.240),
)  # fmt: skip
NMC622 = (
    (0.2, 2.814, 14.100), (0.3, 2.817, 14.340), (0.4, 2.821, 14.460), (0.5, 2.826, 14.475),
    (0.6, 2.833, 14.430), (0.8, 2.851, 14.310), (1.0, 2.8685, 14.225),
)  # fmt: skip
NMC811 = (
    (0.2, 2.816, 14.030), (0.3, 2.818, 14.320), (0.4, 2.822, 14.450), (0.5, 2.828, 14.460),
    (0.6, 2.836, 14.420), (0.8, 2.854, 14.290), (1.0, 2.8715, 14.203),
)  # fmt: skip

# (h, k, l, intensity at x_Li = 1, at x_Li = 0.4): integrated intensities seen with Cu Kα relative to 003 at x_Li = 1.
# I(003) rises by 33 % on delithiation, the others relative to it are 0.32, 0.04, 0.08 at 0.4.
NMC_REFLECTIONS = (
    (0, 0, 3, 1.0, 1.33), (1, 0, 1, 0.39, 0.32 * 1.33), (0, 0, 6, 0.05, 0.04 * 1.33),
    (0, 1, 2, 0.13, 0.08 * 1.33), (1, 0, 4, 0.74, 0.74 * 1.33),
)  # fmt: skip

# (stage, x first, x last, d first, d last in Å, extra width in degrees at Cu Kα): ranges of one phase in LixC6; two
# phases coexist between them. d is the spacing of the stacked layers (002 of graphite). Dilute stages are stacked with
# disorder, hence the extra width. Commonly tabulated values, compare [4].
GRAPHITE = (
    ("1'", 0.0, 0.06, 3.356, 3.376, 0.0),
    ("4L", 0.11, 0.14, 3.420, 3.435, 0.20),
    ("3L", 0.18, 0.21, 3.452, 3.462, 0.20),
    ("2L", 0.25, 0.32, 3.490, 3.508, 0.12),
    ("2", 0.48, 0.53, 3.515, 3.525, 0.0),
    ("1", 0.95, 1.0, 3.695, 3.706, 0.0),
)

# (label, 2θ in degrees at Cu Kα1, counts at the peak, extra width in degrees): polymers of the separator and the pouch.
POLYMER = (
    ("PP 040", 16.9, 60.0, 0.30),
    ("PP 130", 18.6, 40.0, 0.35),
    ("PE 110", 21.5, 220.0, 0.30),
    ("PE 200", 23.9, 70.0, 0.35),
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One simulated operando experiment; every field is an int, float, str, bool or a nested tuple of them.

    Attributes:
      trajectory: packaged trajectory ('mohtat2020', 'chen2020') or the path of an .npz file.
      rates: which sessions to measure, in this order; a session does not depend on the others.
      repeats: how often each session's stored cycles are passed through; 125 make a million frames of two rates.
      lattice: rows (x_Li, a, c) of the positive electrode, Å, x_Li rising.
      lithium: two points (model stoichiometry, x_Li) of the positive electrode; linear between and beyond them.
      nmc_reflections: rows (h, k, l, intensity at x_Li = 1, at x_Li = 0.4).
      stages: rows (stage, x first, x last, d first, d last, extra width) of graphite.
      hysteresis: share of stage 2L that is skipped on discharge (0: none, 1: all). Stage 2 is then also strained by
        `hysteresis_strain · hysteresis` Å and broadened by `hysteresis_width · hysteresis` degrees. The kind of
        hysteresis follows [4]; its size is a choice.
      aluminium: d spacing of Al 111, Å.
      polymer: rows (label, 2θ at Cu Kα1, counts, extra width).
      source: anode of the tube, a key of `K_ALPHA`. Choose the axis to match.
      start_deg, step_deg, channels: the 2θ axis.
      exposure_s: exposure of a frame. It only scales the counts: heights and background below are counts per channel
        in `reference_exposure_s`. The stored 1C run has a frame every 4.0 s, so read the default as 5 s worth of
        the reference brightness.
      graphite_counts, nmc_counts, aluminium_counts: height of C 002 (x = 0), NMC 003 (x_Li = 1), Al 111.
      fluorescence, small_angle, small_angle_decay_deg, hump, hump_deg, hump_width_deg: background, counts per channel:
        flat + small_angle · exp(-(2θ - start)/decay) + hump · Gaussian at hump_deg (Cu Kα1) of that standard deviation.
      texture: March-Dollase coefficient of the NMC plates about c (1: random, above 1: 00l weakened).
      eta, caglioti_tan2, caglioti_0: pseudo-Voigt mixing and H² = caglioti_tan2 · tan²θ + caglioti_0 in degrees².
      nmc_size, graphite_size, aluminium_size: crystallite size in Å (Scherrer).
      microstrain: root-mean-square strain e; width 4 e tanθ.
      smear: standard deviation of the stoichiometry inside one particle shell.
      absorption: μt of the flat cell in transmission.
      flux_sigma, flux_tau_s, shift_sigma_deg, shift_tau_s: Ornstein-Uhlenbeck drifts of flux (relative) and 2θ zero.
      session_offset_deg, session_background: fixed 2θ offset, and factor on the background, of each entry of `rates`;
        empty: none.
      decoy: adds a reflection that tells nothing: its place is random whatever the cell does, alike at every rate. An
        explanation that points at it is wrong. It has a random stream of its own, so that the states are those of the
        cell without it.
      decoy_counts, decoy_deg, decoy_frames: its height; the ends of its range (Cu Kα1), where it is equally often
        everywhere; frames over which its place is correlated (standard deviation of the kernel that smooths it), 0: a
        new place in every frame.
      seed: of drifts, decoy and photons.
    """

    trajectory: str = "mohtat2020"
    rates: tuple[str, ...] = ("1C", "0.2C")
    repeats: int = 1
    lattice: tuple[tuple[float, float, float], ...] = NMC532
    lithium: tuple[tuple[float, float], tuple[float, float]] = ((0.0335, 0.40), (0.8907, 0.93))
    nmc_reflections: tuple[tuple[int, int, int, float, float], ...] = NMC_REFLECTIONS
    stages: tuple[tuple[str, float, float, float, float, float], ...] = GRAPHITE
    hysteresis: float = 0.5
    hysteresis_strain: float = 0.004
    hysteresis_width: float = 0.10
    aluminium: float = 2.338
    polymer: tuple[tuple[str, float, float, float], ...] = POLYMER
    source: str = "Cu"
    start_deg: float = 12.0
    step_deg: float = 0.02
    channels: int = 1400
    exposure_s: float = 5.0
    reference_exposure_s: float = 5.0
    graphite_counts: float = 2000.0
    nmc_counts: float = 1800.0
    aluminium_counts: float = 2500.0
    fluorescence: float = 220.0
    small_angle: float = 80.0
    small_angle_decay_deg: float = 6.0
    hump: float = 40.0
    hump_deg: float = 22.0
    hump_width_deg: float = 5.0
    texture: float = 1.0
    eta: float = 0.45
    caglioti_tan2: float = 0.02
    caglioti_0: float = 0.022
    nmc_size: float = 1000.0
    graphite_size: float = 350.0
    aluminium_size: float = 1000.0
    microstrain: float = 5e-4
    smear: float = 0.008
    absorption: float = 1.0
    flux_sigma: float = 0.01
    flux_tau_s: float = 600.0
    shift_sigma_deg: float = 0.003
    shift_tau_s: float = 1500.0
    session_offset_deg: tuple[float, ...] = ()
    session_background: tuple[float, ...] = ()
    decoy: bool = False
    decoy_counts: float = 1800.0
    decoy_deg: tuple[float, float] = (28.3, 33.7)
    decoy_frames: float = 25.0
    seed: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _tuples(getattr(self, field.name)))
        _validate(self)

    @property
    def wavelengths(self) -> tuple[float, float]:
        """Wavelengths of Kα1 and Kα2 in Å."""
        return K_ALPHA[self.source]

    @property
    def wavelength(self) -> float:
        """Mean wavelength of the doublet, (2 Kα1 + Kα2)/3, in Å: Cu 1.541871."""
        first, second = self.wavelengths
        return (2.0 * first + second) / 3.0


def _tuples(value: Any) -> Any:
    """Return lists, as JSON gives them back, as tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


_POSITIVE = (
    "step_deg", "channels", "exposure_s", "reference_exposure_s", "small_angle_decay_deg", "hump_width_deg",
    "texture", "caglioti_0", "nmc_size", "graphite_size", "aluminium_size", "flux_tau_s", "shift_tau_s",
    "aluminium", "start_deg", "repeats",
)  # fmt: skip
_NOT_NEGATIVE = (
    "graphite_counts", "nmc_counts", "aluminium_counts", "fluorescence", "small_angle", "hump", "caglioti_tan2",
    "microstrain", "smear", "absorption", "flux_sigma", "shift_sigma_deg", "seed", "decoy_counts", "decoy_frames",
)  # fmt: skip


def _validate(cell: Cell) -> None:
    if cell.source not in K_ALPHA:
        raise UserError(f"source '{cell.source}' is not known; use one of {', '.join(K_ALPHA)}")
    values = {field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)}
    for name, value in values.items():
        if isinstance(value, float | int) and not math.isfinite(value):
            raise UserError(f"{name} is {value}; give a finite number")
    for name in _POSITIVE:
        if values[name] <= 0:
            raise UserError(f"{name} is {values[name]}; it must be above 0")
    for name in _NOT_NEGATIVE:
        if values[name] < 0:
            raise UserError(f"{name} is {values[name]}; it must not be negative")
    for name in ("hysteresis", "eta"):
        if not 0 <= values[name] <= 1:
            raise UserError(f"{name} is {values[name]}; it must lie between 0 and 1")
    if cell.channels < 2 or cell.start_deg + cell.step_deg * cell.channels >= 175:
        raise UserError("the 2θ axis needs at least two channels and must end below 175 degrees")
    if not cell.rates or len(set(cell.rates)) != len(cell.rates):
        raise UserError(f"rates are {cell.rates}; name at least one, each once, such as ('1C', '0.2C')")
    for name in ("session_offset_deg", "session_background"):
        if len(values[name]) not in (0, len(cell.rates)):
            raise UserError(f"{name} needs one number per rate ({len(cell.rates)}) or none")
    low, high = cell.decoy_deg
    if not 0 < low < high:
        raise UserError(f"decoy_deg is {low}, {high}; give two rising angles in degrees")
    for name, x in (("lattice", [row[0] for row in cell.lattice]), ("stages", [row[1] for row in cell.stages])):
        if len(x) < 2 or x != sorted(set(x)):
            raise UserError(f"{name} needs at least two rows with rising x")


PRESETS: dict[str, Cell] = {
    "default": Cell(),
    # The axis as the paper prints it, 20 to 40 degrees: NMC 003 (18.7 degrees with Cu Kα) is not on it.
    "paper_literal": Cell(start_deg=20.0, channels=1001),
    "low_dose": Cell(exposure_s=0.5),
    "decoy": Cell(decoy=True),
    "nmc622": Cell(lattice=NMC622),
    # Stoichiometries of Chen2020 are taken as x_Li of NMC811 itself: 0.28 (charged, C/5) to 0.89. The silicon oxide in
    # its negative electrode is ignored.
    "nmc811": Cell(lattice=NMC811, trajectory="chen2020", lithium=((0.27, 0.27), (0.91, 0.91))),
}
