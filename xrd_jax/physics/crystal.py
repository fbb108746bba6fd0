"""Lattice and Bragg geometry: from lithium content to spacings and angles (JAX, differentiable).

References:
  [1] J. R. Dahn, Phys. Rev. B 44, 9170 (1991): phase diagram of LixC6.
  [2] W. A. Dollase, J. Appl. Crystallogr. 19, 267 (1986): preferred orientation.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from xrd_jax.config.cell import K_ALPHA, Cell

CU_K_ALPHA_1 = K_ALPHA["Cu"][0]  # Å; the cell's tables give angles and intensities for this line


def lattice(cell: Cell, x_li: Float[Array, " X"]) -> tuple[Float[Array, " X"], Float[Array, " X"]]:
    """Return the hexagonal lattice parameters a and c in Å, linear between the table's rows, constant beyond them."""
    x, a, c = (jnp.array(column) for column in zip(*cell.lattice, strict=True))
    return jnp.interp(x_li, x, a), jnp.interp(x_li, x, c)


def lithium_content(cell: Cell, stoichiometry: Float[Array, " X"]) -> Float[Array, " X"]:
    """Return x_Li of the positive electrode at stoichiometries of the electrochemical model (a straight line)."""
    (s0, x0), (s1, x1) = cell.lithium
    return x0 + (x1 - x0) / (s1 - s0) * (stoichiometry - s0)


def d_hexagonal(a: Float[Array, " X"], c: Float[Array, " X"], hkl: Int[Array, "R 3"]) -> Float[Array, "R X"]:
    """Return the spacings in Å of reflections hkl in a hexagonal lattice: 1/d² = 4/3 (h² + hk + k²)/a² + l²/c²."""
    h, k, layer = hkl.astype(jnp.float32).T[:, :, None]
    return 1.0 / jnp.sqrt(4.0 / 3.0 * (h * h + h * k + k * k) / a[None, :] ** 2 + (layer / c[None, :]) ** 2)


def two_theta(d: Float[Array, "*X"], wavelength: float) -> Float[Array, "*X"]:
    """Return the Bragg angle 2θ in degrees: λ = 2 d sinθ. NaN where λ > 2 d."""
    return 2.0 * jnp.degrees(jnp.arcsin(wavelength / (2.0 * d)))


def d_spacing(angle: Float[Array, "*X"] | float, wavelength: float) -> Float[Array, "*X"]:
    """Return the spacing in Å of the Bragg angle 2θ in degrees."""
    return wavelength / (2.0 * jnp.sin(jnp.radians(angle) / 2.0))


def march_dollase(
    cell: Cell, d: Float[Array, "R X"], c: Float[Array, " X"], hkl: Int[Array, "R 3"]
) -> Float[Array, "R X"]:
    """Return the factor of preferred orientation about c, (r² cos²α + sin²α/r)^(-3/2) with cosα = l d/c [2]."""
    cos2 = jnp.clip((hkl[:, 2, None].astype(jnp.float32) * d / c[None, :]) ** 2, 0.0, 1.0)
    return (cell.texture**2 * cos2 + (1.0 - cos2) / cell.texture) ** -1.5


def stage_fractions(cell: Cell, x: Float[Array, " X"], without: str = "") -> Float[Array, "G X"]:
    """Return the fractions of the graphite stages at the local stoichiometry x; each column sums to 1.

    There is one phase inside the range of a stage; between two ranges the lever rule holds, linear in x [1]. The
    stage `without` is skipped: its neighbours coexist across its range.
    """
    stages = [row for row in cell.stages if row[0] != without]
    knots = jnp.array([edge for row in stages for edge in row[1:3]])
    pure = jnp.array([[float(row[0] == other[0]) for other in stages for _ in range(2)] for row in cell.stages])
    return jax.vmap(lambda values: jnp.interp(x, knots, values))(pure)


def stage_spacings(cell: Cell, x: Float[Array, " X"]) -> Float[Array, "G X"]:
    """Return the layer spacing in Å of each stage at x: linear inside its range, that of the nearer end outside."""
    first, last, narrow, wide = (jnp.array([row[i] for row in cell.stages])[:, None] for i in range(1, 5))
    return narrow + (wide - narrow) * jnp.clip((x[None, :] - first) / (last - first), 0.0, 1.0)


def stages_on_branch(
    cell: Cell, x: Float[Array, " X"], skipped: Float[Array, "1 X"] | float
) -> tuple[Float[Array, "G X"], Float[Array, "G X"]]:
    """Return the fractions of the graphite stages and their layer spacings in Å with hysteresis.

    Its neighbours replace the share `skipped` of stage 2L (0 on charge); stage 2 is strained in proportion.
    """
    fractions = (1.0 - skipped) * stage_fractions(cell, x)
    fractions += skipped * stage_fractions(cell, x, without="2L")
    strained = skipped * jnp.array([float(row[0] == "2") for row in cell.stages])[:, None]
    return fractions, stage_spacings(cell, x) + cell.hysteresis_strain * strained
