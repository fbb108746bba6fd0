"""Lattice and Bragg geometry: from lithium content to spacings and angles (JAX, differentiable).

References:
  [1] J. R. Dahn, Phys. Rev. B 44, 9170 (1991): phase diagram of LixC6.
  [2] W. A. Dollase, J. Appl. Crystallogr. 19, 267 (1986): preferred orientation.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from xrd_jax.config.cell import Cell


def lattice(cell: Cell, x_li: Float[Array, " X"]) -> tuple[Float[Array, " X"], Float[Array, " X"]]:
    """Hexagonal lattice parameters a and c in Å, linear between the rows of `cell.lattice`, constant beyond them."""
    x, a, c = (jnp.array(column) for column in zip(*cell.lattice, strict=True))
    return jnp.interp(x_li, x, a), jnp.interp(x_li, x, c)


def lithium_content(cell: Cell, stoichiometry: Float[Array, " X"]) -> Float[Array, " X"]:
    """x_Li of the positive electrode from the stoichiometry of the electrochemical model (a straight line)."""
    (s0, x0), (s1, x1) = cell.lithium
    return x0 + (x1 - x0) / (s1 - s0) * (stoichiometry - s0)


def d_hexagonal(a: Float[Array, " X"], c: Float[Array, " X"], hkl: Int[Array, "R 3"]) -> Float[Array, "R X"]:
    """Spacings in Å of reflections hkl in a hexagonal lattice: 1/d² = 4/3 (h² + hk + k²)/a² + l²/c²."""
    h, k, layer = hkl[:, 0, None], hkl[:, 1, None], hkl[:, 2, None]
    return 1.0 / jnp.sqrt(4.0 / 3.0 * (h * h + h * k + k * k) / a[None, :] ** 2 + (layer / c[None, :]) ** 2)


def two_theta(d: Float[Array, "*X"], wavelength: float) -> Float[Array, "*X"]:
    """Bragg angle 2θ in degrees: λ = 2 d sinθ. NaN where λ > 2 d."""
    return 2.0 * jnp.degrees(jnp.arcsin(wavelength / (2.0 * d)))


def d_spacing(angle: Float[Array, "*X"] | float, wavelength: float) -> Float[Array, "*X"]:
    """Spacing in Å of the Bragg angle 2θ in degrees."""
    return wavelength / (2.0 * jnp.sin(jnp.radians(angle) / 2.0))


def march_dollase(
    cell: Cell, d: Float[Array, "R X"], c: Float[Array, " X"], hkl: Int[Array, "R 3"]
) -> Float[Array, "R X"]:
    """Factor of preferred orientation about c, (r² cos²α + sin²α/r)^(-3/2) with cosα = l d/c [2]."""
    cos2 = jnp.clip((hkl[:, 2, None] * d / c[None, :]) ** 2, 0.0, 1.0)
    return (cell.texture**2 * cos2 + (1.0 - cos2) / cell.texture) ** -1.5


def stage_fractions(cell: Cell, x: Float[Array, " X"], without: str = "") -> Float[Array, "G X"]:
    """Fractions of the graphite stages at the local stoichiometry x; each column sums to 1.

    One phase inside its range [first, last]; between two ranges the lever rule, linear in x. `without` names a stage
    that is skipped, its neighbours then coexist across its range.
    """
    kept = [row for row in cell.stages if row[0] != without]
    knots = jnp.array([edge for row in kept for edge in row[1:3]])
    pure = jnp.array([[float(row[0] == other[0]) for other in kept for _ in range(2)] for row in cell.stages])
    return jax.vmap(lambda values: jnp.interp(x, knots, values))(pure)


def stage_spacings(cell: Cell, x: Float[Array, " X"]) -> Float[Array, "G X"]:
    """Layer spacing in Å of each stage at x: linear inside its range, that of the nearer end outside."""
    first, last, narrow, wide = (jnp.array([row[i] for row in cell.stages])[:, None] for i in range(1, 5))
    return narrow + (wide - narrow) * jnp.clip((x[None, :] - first) / (last - first), 0.0, 1.0)
