"""Crystal structures from CIF files: which powder lines a phase has on an axis (extra `phases`, gemmi)."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.physics.reflections import Reflection, miller_text
from xrd_jax.series.axis import DIFFRACTION_KINDS, Axis, bragg_positions

MERGE_TOLERANCE = 1e-5  # relative difference of spacings below which reflections are one powder line
MAX_REFLECTIONS = 200_000  # a cell of more is no powder phase with peaks that have names
MIN_INTENSITY = 0.01  # lines weaker than this share of the strongest are left out


def read(path: str | os.PathLike[str], axis: Axis, min_intensity: float = MIN_INTENSITY) -> tuple[Reflection, ...]:
    """Read the powder lines of a CIF file within `axis`, by rising position, without those that symmetry forbids.

    The phase has the file's name without its ending. Intensity is the sum of |F|² over equivalent reflections times the
    Lorentz-polarisation factor; the strongest line in range is 1, weaker ones than `min_intensity` are left out.
    Without atoms in the file it is NaN, and every line that symmetry allows is returned.

    Raises:
      UserError: gemmi is missing; the file cannot be read or lacks cell or space group; the axis has no wavelength or
        is none of diffraction; no reflection lies in range.
    """
    path = Path(path)
    structure = _structure(path)
    d_range = _spacing_range(path, axis)
    low, high = axis.values[[0, -1]]
    lines = [
        (float(bragg_positions(d, axis)), miller_text(hkl), d, power * _lorentz_polarisation(d, axis))
        for hkl, d, power in _powder_lines(path, structure, *d_range)
    ]
    lines = sorted(line for line in lines if low <= line[0] <= high)
    if not lines:
        beam = f" at {axis.wavelength:.4f} Å" if axis.kind == "two_theta" and axis.wavelength else ""
        cell = ", ".join(f"{value:.3f}" for value in structure.cell.parameters[:3])
        raise UserError(
            f"{path}: puts no reflection between {low:.4g} and {high:.4g} {axis.unit}{beam} (d {d_range[0]:.3g}–"
            f"{d_range[1]:.3g} Å; its cell is {cell} Å); check the file and the wavelength or leave it out"
        )
    strongest = max(power for *_, power in lines)
    reflections = [Reflection(path.stem, hkl, d, power / strongest) for _, hkl, d, power in lines]
    return tuple(line for line in reflections if not line.intensity < min_intensity)  # NaN stays


def read_all(paths: Sequence[str | os.PathLike[str]], axis: Axis) -> tuple[Reflection, ...]:
    """`read` several files; two files of one name are two phases of that name, so that is refused.

    Raises:
      UserError: as `read`, or two files with the same name.
    """
    names = [Path(path).stem for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}.cif: two CIF files have this name, which becomes the phase's; rename one")
    return tuple(line for path in paths for line in read(path, axis))


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
    crystals = [block for block in blocks if block.cell.is_crystal() and np.isfinite(block.cell.parameters).all()]
    crystals = [block for block in crystals if block.cell.volume > 1.0 and min(block.cell.parameters[:3]) > 1.0]
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


def _spacing_range(path: Path, axis: Axis) -> tuple[float, float]:
    """Least and greatest spacing in Å that the axis covers."""
    if axis.kind not in DIFFRACTION_KINDS:
        raise UserError(f"{path}: reflections have no place on an axis of kind '{axis.kind}'; leave --cif out")
    low, high = axis.values[[0, -1]]
    if axis.kind == "two_theta":
        if axis.wavelength is None:
            raise UserError(f"{path}: the data have no wavelength to place it on 2θ; give wavelength = … (Å) with them")
        low, high = (4.0 * np.pi / axis.wavelength * np.sin(np.radians(angle) / 2.0) for angle in (low, high))
    if axis.kind == "d":
        return max(float(low), 1e-3), float(high)
    return 2.0 * np.pi / float(high), 2.0 * np.pi / max(float(low), 1e-6)


def _powder_lines(path: Path, structure: Any, d_min: float, d_max: float) -> list[tuple[tuple[int, ...], float, float]]:
    """(hkl, d, sum of |F|² over the equivalents) of the allowed powder lines; NaN in place of the sum without atoms."""
    import gemmi

    # Half the reciprocal lattice points of the sphere, a lower bound of the work.
    if 2.0 / 3.0 * math.pi * structure.cell.volume / d_min**3 > MAX_REFLECTIONS:
        limit = f"{MAX_REFLECTIONS} reflections down to {d_min:.3g} Å"
        raise UserError(f"{path}: its cell has more than {limit}; narrow the axis")
    hkls = gemmi.make_miller_array(structure.cell, structure.spacegroup, d_min * (1 - 1e-9), d_max * (1 + 1e-9))
    spacings = structure.cell.calculate_d_array(hkls)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    operations = list(structure.spacegroup.operations().sym_ops)
    lines: list[tuple[tuple[int, ...], float, float]] = []
    for index in np.argsort(-spacings, kind="stable"):
        hkl = [int(value) for value in hkls[index]]
        equivalents = {tuple(operation.apply_to_hkl(hkl)) for operation in operations}
        equivalents |= {tuple(-value for value in equivalent) for equivalent in equivalents}
        amplitude = abs(calculator.calculate_sf_from_small_structure(structure, hkl)) if len(structure.sites) else 1.0
        # The name is the equivalent that is easiest to read: fewest minus signs, then the greatest indices first.
        name = max(equivalents, key=lambda indices: (-sum(value < 0 for value in indices), indices))
        power, d = len(equivalents) * amplitude**2, float(spacings[index])
        if lines and abs(lines[-1][1] - d) < MERGE_TOLERANCE * d:
            previous, _, previous_power = lines.pop()
            name, power = (previous if previous_power >= power else name), power + previous_power
        lines.append((name, d, power))
    strongest = max((power for *_, power in lines), default=0.0)
    if not len(structure.sites) or strongest <= 0:  # no atoms, or none that is an element
        return [(name, d, math.nan) for name, d, _ in lines]
    return [line for line in lines if line[2] > 1e-9 * strongest]


def _lorentz_polarisation(d: float, axis: Axis) -> float:
    """(1 + cos²2θ)/(sin²θ cosθ); without wavelength its limit for small angles, in proportion to d²."""
    if axis.wavelength is None:
        return d * d
    sine = axis.wavelength / (2.0 * d)
    if sine >= 1.0:
        return 0.0
    return (1.0 + (1.0 - 2.0 * sine**2) ** 2) / (sine**2 * math.sqrt(1.0 - sine**2))
