"""Crystal structures from CIF files: which powder lines a phase has on an axis (extra `phases`, gemmi)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.physics.reflections import Reflection, miller
from xrd_jax.series.axis import Axis, positions

SAME = 1e-5  # relative difference of spacings below which reflections are one powder line
MOST = 200_000  # reflections that are worked out; a cell of more is no powder phase with peaks that have names
LEAST = 0.01  # lines weaker than this share of the strongest are left out


def read(path: str | os.PathLike[str], axis: Axis, phase: str = "", least: float = LEAST) -> tuple[Reflection, ...]:
    """The powder lines of a CIF file within `axis`, by rising position, without those that symmetry forbids.

    Intensity is the sum of |F|² over equivalent reflections times the Lorentz-polarisation factor; the strongest line
    in range is 1. Without atoms in the file it is NaN, and every line that symmetry allows is returned.

    Args:
      phase: name to use; by default the file's name without its ending.
      least: lines weaker than this are left out.

    Raises:
      UserError: gemmi is missing; the file cannot be read or lacks cell or space group; the axis has no wavelength or
        is none of diffraction; no reflection lies in range.
    """
    path = Path(path)
    structure = _structure(path)
    name = phase or path.stem
    span = _spacings(path, axis)
    lines = _lines(path, structure, *span)
    values = [(miller(hkl), d, power * _lorentz(d, axis)) for hkl, d, power in lines]
    at = [float(positions(d, axis)) for _, d, _ in values]
    inside = [(place, *value) for place, value in zip(at, values, strict=True) if _within(place, axis)]
    if not inside:
        raise UserError(f"{path}: {_nothing(structure, axis, span)}; check the file and the wavelength or leave it out")
    strongest = max(power for *_, power in inside)
    found = [Reflection(name, hkl, d, power / strongest) for _, hkl, d, power in sorted(inside)]
    return tuple(line for line in found if not line.intensity < least)  # NaN stays


def read_all(paths: Sequence[str | os.PathLike[str]], axis: Axis, least: float = LEAST) -> tuple[Reflection, ...]:
    """`read` of several files; two files of one name are two phases of that name, so that is refused.

    Raises:
      UserError: as `read`, or two files with the same name.
    """
    names = [Path(path).stem for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}.cif: two CIF files have this name, which becomes the phase's; rename one")
    return tuple(line for path in paths for line in read(path, axis, least=least))


def _structure(path: Path) -> Any:
    """gemmi's SmallStructure of the first block that has a cell, with its space group."""
    try:
        import gemmi
    except ImportError:
        raise UserError(f"{path}: CIF files need gemmi; pip install 'xrd_jax[phases]'") from None
    try:
        document = gemmi.cif.read_string(path.read_bytes().decode("utf-8", "replace"))
        blocks = [gemmi.make_small_structure_from_block(block) for block in document]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a CIF file that is there") from None
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0].removeprefix("string:")
        raise UserError(f"{path}: is not a CIF file that can be read ({reason}); export the structure anew") from None
    crystals = [block for block in blocks if block.cell.is_crystal() and _finite_cell(block.cell)]
    if not crystals:
        raise UserError(f"{path}: holds no unit cell; it needs _cell_length_a, b, c and _cell_angle_alpha, beta, gamma")
    structure = crystals[0]
    try:
        structure.determine_and_set_spacegroup("S.H2N")
    except (ValueError, RuntimeError):  # operations that are none
        structure.spacegroup = None
    if structure.spacegroup is None:
        raise UserError(f"{path}: names no space group that is known; add _space_group_name_H-M_alt, such as 'R -3 m'")
    if not structure.cell.is_compatible_with_spacegroup(structure.spacegroup):
        group = structure.spacegroup.xhm()
        raise UserError(f"{path}: its unit cell does not have the symmetry of its space group {group}; correct either")
    structure.setup_cell_images()
    structure.change_occupancies_to_crystallographic()
    return structure


def _finite_cell(cell: Any) -> bool:
    return bool(np.all(np.isfinite(cell.parameters)) and cell.volume > 1.0 and min(cell.parameters[:3]) > 1.0)


def _spacings(path: Path, axis: Axis) -> tuple[float, float]:
    """(least, greatest) spacing in Å that the axis covers."""
    if axis.kind not in ("two_theta", "q", "d"):
        raise UserError(f"{path}: reflections have no place on an axis of kind '{axis.kind}'; leave --cif out")
    low, high = axis.values[[0, -1]]
    if axis.kind == "two_theta":
        if axis.wavelength is None:
            raise UserError(f"{path}: the data have no wavelength to place it on 2θ; give wavelength = … (Å) with them")
        low, high = (4.0 * np.pi / axis.wavelength * np.sin(np.radians(angle) / 2.0) for angle in (low, high))
    if axis.kind == "d":
        return max(float(low), 1e-3), float(high)
    return 2.0 * np.pi / float(high), 2.0 * np.pi / max(float(low), 1e-6)


def _within(place: float, axis: Axis) -> bool:
    return bool(axis.values[0] <= place <= axis.values[-1])


def _lines(path: Path, structure: Any, d_min: float, d_max: float) -> list[tuple[tuple[int, ...], float, float]]:
    """(hkl, d, sum of |F|² over the equivalents) of the allowed powder lines; 1 in place of |F|² without atoms."""
    import gemmi

    # Half the reciprocal lattice points of the sphere, a lower bound of the work.
    if 2.0 / 3.0 * math.pi * structure.cell.volume / d_min**3 > MOST:
        raise UserError(f"{path}: its cell has more than {MOST} reflections down to {d_min:.3g} Å; narrow the axis")
    hkls = gemmi.make_miller_array(structure.cell, structure.spacegroup, d_min * (1 - 1e-9), d_max * (1 + 1e-9))
    spacings = structure.cell.calculate_d_array(hkls)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    operations = list(structure.spacegroup.operations().sym_ops)
    lines: list[tuple[tuple[int, ...], float, float]] = []
    for index in np.argsort(-spacings, kind="stable"):
        hkl = [int(value) for value in hkls[index]]
        same = {tuple(op.apply_to_hkl(hkl)) for op in operations}
        same |= {tuple(-value for value in one) for one in same}
        amplitude = abs(calculator.calculate_sf_from_small_structure(structure, hkl)) if len(structure.sites) else 1.0
        # The name is the equivalent that is easiest to read: fewest minus signs, then the greatest indices first.
        name = max(same, key=lambda one: (-sum(value < 0 for value in one), one))
        power, d = len(same) * amplitude**2, float(spacings[index])
        if lines and abs(lines[-1][1] - d) < SAME * d:
            before, _, sum_before = lines.pop()
            name, power = (before if sum_before >= power else name), power + sum_before
        lines.append((name, d, power))
    strongest = max((power for *_, power in lines), default=0.0)
    if not len(structure.sites) or strongest <= 0:  # no atoms, or none that is an element
        return [(name, d, math.nan) for name, d, _ in lines]
    return [line for line in lines if line[2] > 1e-9 * strongest]


def _lorentz(d: float, axis: Axis) -> float:
    """(1 + cos²2θ)/(sin²θ cosθ); without wavelength its limit for small angles, in proportion to d²."""
    if axis.wavelength is None:
        return d * d
    sine = axis.wavelength / (2.0 * d)
    if sine >= 1.0:
        return 0.0
    return (1.0 + (1.0 - 2.0 * sine**2) ** 2) / (sine**2 * math.sqrt(1.0 - sine**2))


def _nothing(structure: Any, axis: Axis, span: tuple[float, float]) -> str:
    low, high = axis.values[[0, -1]]
    beam = f" at {axis.wavelength:.4f} Å" if axis.kind == "two_theta" and axis.wavelength else ""
    cell = ", ".join(f"{value:.3f}" for value in structure.cell.parameters[:3])
    return (
        f"puts no reflection between {low:.4g} and {high:.4g} {axis.unit}{beam} (d {span[0]:.3g}–{span[1]:.3g} Å; "
        f"its cell is {cell} Å)"
    )
