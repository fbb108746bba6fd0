"""Small text files of pattern formats, and what their writers share; `synthetic_files` lists them with all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Scan = tuple[float, float, np.ndarray]
ALPHA1, ALPHA2, RATIO = 1.540598, 1.544426, 0.5


def positions(scan: Scan) -> np.ndarray:
    """Return the positions [N] of a scan."""
    return scan[0] + scan[1] * np.arange(len(scan[2]))


def rows(scan: Scan, extra: str = "", separator: str = " ") -> str:
    """Return a line of position and counts for each point."""
    return "".join(f"{x:.6f}{separator}{y:.0f}{extra}\n" for x, y in zip(positions(scan), scan[2], strict=True))


def listed_rows(counts: np.ndarray, width: int) -> str:
    """Return counts alone, `width` in a line."""
    return "".join(" ".join(f"{y:.0f}" for y in counts[i : i + width]) + "\n" for i in range(0, len(counts), width))


def uxd(scans: Sequence[Scan], pairs: bool = False, drive: str = "COUPLED") -> bytes:
    text = "; File converted\n_FILEVERSION=2\n_SAMPLE='NaCl'\n_ANODE='Cu'\n_WL_UNIT='A'\n"
    text += f"_WL1={ALPHA1}\n_WL2={ALPHA2}\n_WLRATIO={RATIO}\n_DATEMEASURED='12-Aug-2009 17:04:05'\n"
    for scan in scans:
        text += f"; Data for range\n_DRIVE='{drive}'\n_STEPTIME=1.0\n_STEPSIZE={scan[1]:.6f}\n_START={scan[0]:.6f}\n"
        text += "_2THETACOUNTS\n" + rows(scan) if pairs else "_COUNTS\n" + listed_rows(scan[2], 8)
    return text.encode()


def gsas(scans: Sequence[Scan], form: str = "STD") -> bytes:
    text = "a title".ljust(80) + "\n"
    for i, (start, step, counts) in enumerate(scans, 1):
        tail = f"CONST {start * 100:.4f} {step * 100:.4f} 0 0 {form}"
        text += f"BANK {i} {len(counts)} {len(counts)} {tail}".ljust(80) + "\n"
        if form == "FXYE":
            points = zip(positions((start, step, counts)), counts, strict=True)
            text += "".join(f"{x * 100:.4f} {y:.1f} {1 + y:.1f}\n" for x, y in points)
            continue
        fields = [f" 1{y:6.0f}" if form == "STD" else f"{y:8.0f}{1 + y:8.0f}" for y in counts]
        width = 80 // len(fields[0])
        text += "".join("".join(fields[k : k + width]).ljust(80) + "\n" for k in range(0, len(fields), width))
    return text.encode()


def stepped(scans: Sequence[Scan]) -> bytes:
    start, step, counts = scans[0]
    end = start + step * (len(counts) - 1)
    return (f"! a comment\n{start:.4f} {step:.4f} {end:.4f} a title\n" + listed_rows(counts, 10)).encode()


def columns(scans: Sequence[Scan], header: str = "# scan {}\n") -> bytes:
    return "\n".join(header.format(i) + rows(scan) for i, scan in enumerate(scans)).encode()


def cpi(scans: Sequence[Scan]) -> bytes:
    x, counts = positions(scans[0]), scans[0][2]
    head = f"SIETRONICS XRD SCAN\r\n{x[0]:.4f}\r\n{x[-1]:.4f}\r\n{scans[0][1]:.4f}\r\nCu\r\n{ALPHA1}\r\n1-2-2024\r\n"
    return (head + "0.6\r\na sample\r\nSCANDATA\r\n" + "".join(f"{y:.0f}\r\n" for y in counts)).encode()


def udf(scans: Sequence[Scan]) -> bytes:
    x, counts = positions(scans[0]), scans[0][2]
    head = f"SampleIdent,a sample ,/\nLabdaAlpha1, {ALPHA1},/\nLabdaAlpha2, {ALPHA2},/\nRatioAlpha21, {RATIO},/\n"
    head += f"DataAngleRange, {x[0]:.4f}, {x[-1]:.4f},/\nScanStepSize, {scans[0][1]:.4f},/\nRawScan\n"
    return (head + listed_rows(counts, 8).replace(" ", ", ").replace("\n", ",\n")[:-2] + "/\n").encode()


def mdi(scans: Sequence[Scan]) -> bytes:
    x, counts = positions(scans[0]), scans[0][2]
    head = f"03/14/24 09:00 DIF a sample\n{x[0]:.4f} {scans[0][1]:.4f} 1.0 CU {ALPHA1} {x[-1]:.4f} {len(counts)}\n"
    return (head + listed_rows(counts, 8)).encode()


def asc(scans: Sequence[Scan]) -> bytes:
    text = f"*TYPE = Raw\n*DATE = 14-Mar-24 09:00\n*SCAN_AXIS = 2theta/theta\n*WAVE_LENGTH1 = {ALPHA1}\n"
    for start, step, counts in scans:
        text += f"*START = {start:.4f}\n*STEP = {step:.4f}\n*COUNT = {len(counts)}\n"
        text += listed_rows(counts, 4).replace(" ", ", ") + "*END\n"
    return (text + "*EOF\n").encode()


def cif(scans: Sequence[Scan], listed: bool = False) -> bytes:
    text = ""
    for number, scan in enumerate(scans):
        x = positions(scan)
        text += f"data_scan_{number}\n_diffrn_radiation_wavelength {ALPHA1}\n"
        if listed:
            text += "loop_\n_pd_proc_2theta_corrected\n_pd_proc_intensity_total\n" + rows(scan, "(7)")
            continue
        for key, value in zip(("min", "max", "inc"), (x[0], x[-1], scan[1]), strict=True):
            text += f"_pd_meas_2theta_range_{key} {value:.4f}\n"
        text += "loop_\n_pd_meas_counts_total\n" + listed_rows(scan[2], 1)
    return text.encode()


def spec(scans: Sequence[Scan]) -> bytes:
    text = "#F a\n#E 1710406800\n\n"
    for number, scan in enumerate(scans, 1):
        x = positions(scan)
        text += f"#S {number} ascan tth {x[0]:.4f} {x[-1]:.4f} {len(x) - 1} 1\n#D Thu Mar 14 09:00:00 2024\n#N 3\n"
        text += "#L Two Theta  Monitor  Detector\n"
        text += "".join(f"{a:.4f} 1000 {y:.0f}\n" for a, y in zip(x, scan[2], strict=True)) + "\n"
    return text.encode()
