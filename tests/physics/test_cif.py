"""CIF files: which lines symmetry allows, where Bragg's law puts them, how strong they are, and what is refused."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from xrd_jax.errors import UserError
from xrd_jax.physics import cif
from xrd_jax.physics.reflections import Reflection
from xrd_jax.series.axis import Axis, bragg_positions

CU = 1.540593
WIDE = Axis(np.linspace(10.0, 90.0, 800), "two_theta", CU)
HEXAGONAL = (90.0, 90.0, 120.0)
CELLS = {
    # name -> (a, b, c, alpha, beta, gamma), space group, atoms (element, x, y, z)
    "Al": ((4.0494,) * 3 + (90.0,) * 3, "F m -3 m", [("Al", 0, 0, 0)]),
    "Si": ((5.4309,) * 3 + (90.0,) * 3, "F d -3 m :1", [("Si", 0, 0, 0)]),
    "NaCl": ((5.6402,) * 3 + (90.0,) * 3, "F m -3 m", [("Na", 0, 0, 0), ("Cl", 0.5, 0.5, 0.5)]),
    "Fe": ((2.8665,) * 3 + (90.0,) * 3, "I m -3 m", [("Fe", 0, 0, 0)]),
    "graphite": ((2.464, 2.464, 6.711, *HEXAGONAL), "P 63/m m c", [("C", 0, 0, 0.25), ("C", 1 / 3, 2 / 3, 0.25)]),
    "NMC": ((2.870, 2.870, 14.240, *HEXAGONAL), "R -3 m :H", [("Li", 0, 0, 0.5), ("Ni", 0, 0, 0), ("O", 0, 0, 0.2412)]),
}


def text(name: str, group: str = "", atoms: bool = True) -> str:
    cell, own_group, sites = CELLS[name]
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{name}", *(f"_cell_{key} {value}" for key, value in zip(names, cell, strict=True))]
    lines.append(f"_symmetry_space_group_name_H-M '{group or own_group}'")
    if atoms:
        lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol", "_atom_site_fract_x", "_atom_site_fract_y"]
        lines += ["_atom_site_fract_z", *(f"{el}1 {el} {x:.5f} {y:.5f} {z:.5f}" for el, x, y, z in sites)]
    return "\n".join(lines) + "\n"


def read(folder: Path, name: str, axis: Axis = WIDE, **options) -> dict[str, Reflection]:
    path = folder / f"{name}.cif"
    path.write_text(text(name, **options.pop("content", {})))
    return {line.hkl: line for line in cif.read(path, axis, **options)}


@pytest.mark.parametrize(
    ("name", "hkl", "two_theta"),
    # Analytic: 2 arcsin(λ √(h² + k² + l²)/2a), and with 1/d² = 4/3 (h² + hk + k²)/a² + l²/c².
    [("Al", "111", 38.473), ("Al", "200", 44.720), ("Si", "111", 28.443), ("Si", "220", 47.304),
     ("graphite", "002", 26.543)],
)  # fmt: skip
def test_lines_lie_where_bragg_puts_them(tmp_path, name, hkl, two_theta):
    line = read(tmp_path, name)[hkl]
    assert line.phase == name
    a, c = CELLS[name][0][0], CELLS[name][0][2]
    h, k, m = map(int, hkl)
    d = (
        a / math.sqrt(h * h + k * k + m * m)
        if a == c
        else 1 / math.sqrt(4 / 3 * (h * h + h * k + k * k) / a**2 + (m / c) ** 2)
    )
    assert line.d == pytest.approx(d, rel=1e-6)
    assert float(bragg_positions(line.d, WIDE)) == pytest.approx(two_theta, abs=0.01)


def test_absences_of_centring_glide_and_screw(tmp_path):
    # F: all indices even or all odd. I: even sum. Diamond glide: 200 and 222 vanish. 6₃: 00l with odd l vanish.
    def parity(hkl):
        return {int(i) % 2 for i in hkl}

    assert all(len(parity(hkl)) == 1 for hkl in read(tmp_path, "Al"))
    assert all(sum(map(int, hkl)) % 2 == 0 for hkl in read(tmp_path, "Fe"))
    assert {"200", "222"}.isdisjoint(read(tmp_path, "Si", min_intensity=0.0))
    assert {"001", "003"}.isdisjoint(read(tmp_path, "graphite", min_intensity=0.0, content={"atoms": False}))
    # Obverse setting of R: -h + k + l = 3n.
    assert all((-int(h[0]) + int(h[1]) + int(h[2])) % 3 == 0 for h in read(tmp_path, "NMC") if len(h) == 3)
    assert {"003", "101", "006", "012", "104"} <= set(read(tmp_path, "NMC"))


def test_intensities_follow_from_the_atoms(tmp_path):
    lines = read(tmp_path, "Al")
    assert [hkl for hkl, line in lines.items() if line.intensity == 1.0] == ["111"]
    # Card 4-0787: 111 100, 200 47, 220 22, 311 24. The file has no thermal motion, so B = 0.85 Å² is applied here.
    damped = {hkl: line.intensity * math.exp(-2 * 0.85 / (2 * line.d) ** 2) for hkl, line in lines.items()}
    relative = [damped[hkl] / damped["111"] for hkl in ("200", "220", "311")]
    assert relative == pytest.approx([0.47, 0.22, 0.24], abs=0.06)
    salt = read(tmp_path, "NaCl")
    assert salt["200"].intensity == 1.0
    assert salt["111"].intensity == pytest.approx(0.09, abs=0.04)  # Na against Cl: nearly extinct
    assert read(tmp_path, "NaCl", min_intensity=0.2).keys() < salt.keys()
    without_atoms = read(tmp_path, "Al", content={"atoms": False})
    assert all(math.isnan(line.intensity) for line in without_atoms.values())
    assert set(without_atoms) >= set(lines)


def test_powder_lines_merge_and_angles_are_the_same_on_every_axis(tmp_path):
    angles = read(tmp_path, "Al")
    assert len({round(line.d, 4) for line in angles.values()}) == len(angles)
    edges = np.radians(WIDE.values[[0, -1]]) / 2
    q = 4 * np.pi * np.sin(edges) / CU
    in_q = read(tmp_path, "Al", Axis(np.linspace(*q, 100), "q"), min_intensity=0.0)
    in_d = read(tmp_path, "Al", Axis(np.linspace(*(2 * np.pi / q[::-1]), 100), "d"), min_intensity=0.0)
    assert set(angles) == set(in_q) == set(in_d)
    assert list(in_d) == list(in_q)[::-1]
    assert angles["111"].d == in_q["111"].d == in_d["111"].d


BAD = {
    "missing": (None, WIDE, "cannot be read"),
    "text": ("no structure at all", WIDE, "not a CIF file"),
    "empty": ("", WIDE, "no unit cell"),
    "no_cell": ("data_x\n_cell_length_a 5\n", WIDE, "no unit cell"),
    "no_group": (text("Al").replace("F m -3 m", "Q 7 x"), WIDE, "space group"),
    "bad_group": (text("graphite", "F m -3 m"), WIDE, "symmetry"),
    "no_wavelength": (text("Al"), Axis(WIDE.values), "wavelength"),
    "energy": (text("Al"), Axis(WIDE.values, "energy"), "energy"),
    "out_of_range": (text("Al"), Axis(np.linspace(10.0, 30.0, 50), "two_theta", CU), "no reflection between 10 and 30"),
    "too_long": (text("Al"), Axis(np.linspace(0.3, 0.4, 50), "two_theta", 10.0), "no reflection"),
    "huge": (text("Al").replace("4.0494", "900"), WIDE, "narrow the axis"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line_that_names_them(tmp_path, name):
    content, axis, message = BAD[name]
    path = tmp_path / f"{name}.cif"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        cif.read(path, axis)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_binary_rubbish_and_equal_names_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "x.cif", tmp_path / "a" / "x.cif"):
        path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="not a CIF file"):
        cif.read(tmp_path / "x.cif", WIDE)
    with pytest.raises(UserError, match="rename one"):
        cif.read_all([tmp_path / "x.cif", tmp_path / "a" / "x.cif"], WIDE)


def test_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gemmi", None)
    (tmp_path / "Al.cif").write_text(text("Al"))
    with pytest.raises(UserError, match=r"pip install 'xrd_jax\[phases\]'"):
        cif.read(tmp_path / "Al.cif", WIDE)
