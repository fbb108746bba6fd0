"""Peak shapes and the per-stoichiometry dictionaries of powder patterns (JAX).

References:
  [1] G. Caglioti, A. Paoletti, F. P. Ricci, Nucl. Instrum. 3, 223 (1958): instrument width against angle.
  [2] H. P. Klug, L. E. Alexander, X-Ray Diffraction Procedures, 2nd ed., Wiley (1974): size, strain, transmission.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from xrd_jax.config.cell import Cell
from xrd_jax.physics import crystal
from xrd_jax.physics.crystal import CU_K_ALPHA_1

GRID = 401  # stoichiometries 0, 1/400, ... 1
MARGIN = 16  # channels computed beyond each end of the axis, so that a shifted pattern has true values there
SCHERRER = 0.9  # shape factor of a crystallite
LINE_WEIGHTS = (2.0 / 3.0, 1.0 / 3.0)  # Kα1, Kα2
# Fields of the cell that leave the unit patterns alone; cells that differ only in them share one compilation.
NON_OPTICAL_FIELDS = (
    "trajectory", "rates", "seed", "exposure_s", "reference_exposure_s", "flux_sigma", "flux_tau_s", "shift_sigma_deg",
    "shift_tau_s", "session_offset_deg", "session_background", "decoy_frames",
)  # fmt: skip


class Dictionaries(NamedTuple):
    """Expected counts per channel at unit flux, of pure stoichiometries g/400; M = N + 2 MARGIN channels, G = 401."""

    negative_charge: Float[Array, "G M"]  # graphite at local stoichiometry, on either branch
    negative_discharge: Float[Array, "G M"]
    positive: Float[Array, "G M"]  # NMC at model stoichiometry
    static: Float[Array, " M"]  # aluminium and polymer reflections
    background: Float[Array, " M"]  # fluorescence, small-angle slope, electrolyte hump
    step: Float[Array, ""]  # channel width in degrees
    decoy: Float[Array, "G M"] | None = None  # the decoy's reflection at g/400 of its range; None without


def pseudo_voigt(delta: Float[Array, "X M"], fwhm: Float[Array, "X 1"], eta: float) -> Float[Array, "X M"]:
    """Return the pseudo-Voigt of unit area at distance `delta` from its centre, Lorentzian share `eta`, in 1/degree."""
    u = (2.0 * delta / fwhm) ** 2
    lorentzian = 2.0 / jnp.pi / (1.0 + u)
    gaussian = 2.0 * jnp.sqrt(jnp.log(2.0) / jnp.pi) * jnp.exp(-jnp.log(2.0) * u)
    return (eta * lorentzian + (1.0 - eta) * gaussian) / fwhm


def width(cell: Cell, angle: Float[Array, "*X"], size: float, extra: Array | float = 0.0) -> Float[Array, "*X"]:
    """Return the full width at half maximum at 2θ = `angle`; all in degrees, `size` of the crystallites in Å.

    Instrument, size, strain and `extra` (disorder) are added in quadrature: Caglioti H² = U tan²θ + W [1]; Scherrer
    0.9 λ/(L cosθ); strain 4 e tanθ [2].
    """
    theta = jnp.radians(angle) / 2.0
    instrument = cell.caglioti_tan2 * jnp.tan(theta) ** 2 + cell.caglioti_0
    scherrer = jnp.degrees(SCHERRER * cell.wavelength / (size * jnp.cos(theta)))
    strain = jnp.degrees(4.0 * cell.microstrain * jnp.tan(theta))
    return jnp.sqrt(instrument + scherrer**2 + strain**2 + extra**2)


def angle_factor(cell: Cell, angle: Float[Array, "*X"]) -> Float[Array, "*X"]:
    """Return Lorentz-polarisation × flat-plate transmission, (1 + cos²2θ)/(sin²θ cosθ) · exp(-μt/cosθ)/cosθ [2]."""
    theta = jnp.radians(angle) / 2.0
    lorentz = (1.0 + jnp.cos(2.0 * theta) ** 2) / (jnp.sin(theta) ** 2 * jnp.cos(theta))
    return lorentz * jnp.exp(-cell.absorption / jnp.cos(theta)) / jnp.cos(theta)


def doublet(
    cell: Cell, axis: Float[Array, " M"], d: Float[Array, " X"], size: float, extra: Array | float = 0.0
) -> Float[Array, "X M"]:
    """Return the Kα1, Kα2 pair of a reflection with spacing `d` on the axis, unit area, in 1/degree."""
    pattern = jnp.zeros((d.shape[0], axis.shape[0]))
    for wavelength, weight in zip(cell.wavelengths, LINE_WEIGHTS, strict=True):
        centre = crystal.two_theta(d, wavelength)
        fwhm = width(cell, centre, size, extra)
        pattern += weight * pseudo_voigt(axis[None, :] - centre[:, None], fwhm[:, None], cell.eta)
    return pattern


def sum_of_reflections(
    cell: Cell, axis: Float[Array, " M"], d: Float[Array, "R X"], area: Float[Array, "R X"], size: float,
    extra: Float[Array, " R"],
) -> Float[Array, "X M"]:  # fmt: skip
    """Return the sum over reflections R of `doublet` times its integrated counts `area`."""

    def add(pattern: Array, line: tuple[Array, Array, Array]) -> tuple[Array, None]:
        spacing, counts, broadening = line
        return pattern + counts[:, None] * doublet(cell, axis, spacing, size, broadening), None

    return jax.lax.scan(add, jnp.zeros((d.shape[1], axis.shape[0])), (d, area, extra))[0]


def area_for_height(
    cell: Cell, d: Float[Array, ""], counts: Array | float, size: float, extra: Array | float = 0.0
) -> Float[Array, ""]:
    """Return the integrated counts (counts · degree) of a reflection that has `counts` at its Kα1 line."""
    centre = crystal.two_theta(d[None], cell.wavelengths[0])
    return counts / doublet(cell, centre, d[None], size, extra)[0, 0]


def nmc_patterns(cell: Cell, axis: Float[Array, " M"]) -> Float[Array, "G M"]:
    """Return the patterns of the positive electrode over the grid of model stoichiometries, counts per channel."""
    x_li = crystal.lithium_content(cell, jnp.linspace(0.0, 1.0, GRID))
    a, c = crystal.lattice(cell, x_li)
    hkl = jnp.array([row[:3] for row in cell.nmc_reflections])
    full, empty = (jnp.array([row[i] for row in cell.nmc_reflections])[:, None] for i in (3, 4))
    d = crystal.d_hexagonal(a, c, hkl)
    tabulated = full + (empty - full) * jnp.clip((1.0 - x_li[None, :]) / 0.6, 0.0, 1.0)
    intensity = tabulated * source_factor(cell, d) * crystal.march_dollase(cell, d, c, hkl)
    reference = crystal.d_hexagonal(*crystal.lattice(cell, jnp.ones(1)), jnp.array([[0, 0, 3]]))[0]
    area = area_for_height(cell, reference[0], cell.nmc_counts, cell.nmc_size) / source_factor(cell, reference)[0]
    return sum_of_reflections(cell, axis, d, area * intensity, cell.nmc_size, jnp.zeros(d.shape[0]))


def source_factor(cell: Cell, d: Float[Array, "*X"]) -> Float[Array, "*X"]:
    """Return the angle factor with the cell's source over that with Cu Kα, of the tabulated intensities; 1 for Cu."""
    factor = angle_factor(cell, crystal.two_theta(d, cell.wavelengths[0]))
    return factor / angle_factor(cell, crystal.two_theta(d, CU_K_ALPHA_1))


def graphite_patterns(cell: Cell, axis: Float[Array, " M"], hysteresis: float) -> Float[Array, "G M"]:
    """Return the patterns of the negative electrode over the grid of stoichiometries, counts per channel.

    Each stage contributes its layer reflection, with the integrated intensity of C 002 times its fraction.
    `hysteresis` is 0 on charge; on discharge that share of stage 2L is replaced by its neighbours.
    """
    x = jnp.linspace(0.0, 1.0, GRID)
    fractions, d = crystal.stages_on_branch(cell, x, hysteresis)
    strained = hysteresis * jnp.array([float(row[0] == "2") for row in cell.stages])
    extra = jnp.array([row[5] for row in cell.stages]) + cell.hysteresis_width * strained
    pure = jnp.array([cell.stages[0][3]])
    area = area_for_height(cell, pure[0], cell.graphite_counts, cell.graphite_size)
    factor = angle_factor(cell, crystal.two_theta(d, cell.wavelengths[0]))
    factor /= angle_factor(cell, crystal.two_theta(pure, cell.wavelengths[0]))[:, None]
    return sum_of_reflections(cell, axis, d, area * fractions * factor, cell.graphite_size, extra)


def static_pattern(cell: Cell, axis: Float[Array, " M"]) -> Float[Array, " M"]:
    """Return the reflections that do not move: Al 111 and the polymers, whose width is mostly their `extra`."""
    angles, counts, extra = (jnp.array([row[i] for row in cell.polymer]) for i in range(1, 4))
    d = jnp.append(crystal.d_spacing(angles, CU_K_ALPHA_1), cell.aluminium)
    counts, extra = jnp.append(counts, cell.aluminium_counts), jnp.append(extra, 0.0)
    area = jax.vmap(lambda *line: area_for_height(cell, line[0], line[1], cell.aluminium_size, line[2]))
    return sum_of_reflections(cell, axis, d[:, None], area(d, counts, extra)[:, None], cell.aluminium_size, extra)[0]


def decoy_patterns(cell: Cell, axis: Float[Array, " M"]) -> Float[Array, "G M"]:
    """Return the decoy's reflection at evenly spaced angles from one end of its range to the other."""
    angles = jnp.linspace(*cell.decoy_deg, GRID)
    d = crystal.d_spacing(angles, CU_K_ALPHA_1)
    area = jax.vmap(lambda spacing: area_for_height(cell, spacing, cell.decoy_counts, cell.graphite_size))(d)
    return area[:, None] * doublet(cell, axis, d, cell.graphite_size)


def background_pattern(cell: Cell, axis: Float[Array, " M"]) -> Float[Array, " M"]:
    """Return fluorescence, small-angle slope and electrolyte hump, counts per channel."""
    slope = cell.small_angle * jnp.exp(-(axis - cell.start_deg) / cell.small_angle_decay_deg)
    centre = crystal.two_theta(crystal.d_spacing(cell.hump_deg, CU_K_ALPHA_1), cell.wavelengths[0])
    hump = cell.hump * jnp.exp(-0.5 * ((axis - centre) / cell.hump_width_deg) ** 2)
    return cell.fluorescence + slope + hump


def smear(pattern: Float[Array, "G M"], sigma: float) -> Float[Array, "G M"]:
    """Average patterns over a Gaussian of stoichiometry (standard deviation `sigma`), cut at 0 and 1."""
    if sigma == 0:
        return pattern
    x = jnp.linspace(0.0, 1.0, GRID)
    kernel = jnp.exp(-0.5 * ((x[:, None] - x[None, :]) / sigma) ** 2)
    return (kernel / kernel.sum(axis=1, keepdims=True)) @ pattern


def dictionaries(cell: Cell) -> Dictionaries:
    """Return all patterns of pure states that a frame of `cell` is mixed from, scaled to its exposure."""
    defaults: dict[str, Any] = {name: getattr(Cell(), name) for name in NON_OPTICAL_FIELDS}
    unscaled = _dictionaries(dataclasses.replace(cell, **defaults))
    scale = cell.exposure_s / cell.reference_exposure_s
    return jax.tree.map(lambda pattern: scale * pattern, unscaled)._replace(step=unscaled.step)


@functools.partial(jax.jit, static_argnums=0)
def _dictionaries(cell: Cell) -> Dictionaries:
    axis = cell.start_deg + cell.step_deg * jnp.arange(-MARGIN, cell.channels + MARGIN, dtype=jnp.float32)
    return Dictionaries(
        negative_charge=smear(graphite_patterns(cell, axis, 0.0), cell.smear),
        negative_discharge=smear(graphite_patterns(cell, axis, cell.hysteresis), cell.smear),
        positive=smear(nmc_patterns(cell, axis), cell.smear),
        static=static_pattern(cell, axis),
        background=background_pattern(cell, axis),
        step=jnp.asarray(cell.step_deg),
        decoy=decoy_patterns(cell, axis) if cell.decoy else None,
    )
