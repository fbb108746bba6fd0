"""Small files of every pattern format, written from what is known of each: seeds for fuzzing, round trips for tests.

Each writer takes scans, a list of (start, step, counts [N]) with positions start + i step, and gives the bytes of a
file that holds them all. Counts are whole numbers below a million, positions have up to four decimals.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Sequence

import h5py
import numpy as np

from experiments.benchmarks.synthetic_text_files import (
    ALPHA1,
    ALPHA2,
    RATIO,
    Scan,
    asc,
    cif,
    columns,
    cpi,
    gsas,
    mdi,
    positions,
    rows,
    spec,
    stepped,
    udf,
    uxd,
)


def xrdml(scans: Sequence[Scan], counts: bool = False, listed: bool = False, intended: str = "K-Alpha 1") -> bytes:
    """Schema 2.0 with `counts`, or 1.5 with `intensities`; positions as start and end or as a list."""
    parts, tag = [], "counts" if counts else "intensities"
    for scan in scans:
        x = positions(scan)
        axis = f"<startPosition>{x[0]:.6f}</startPosition><endPosition>{x[-1]:.6f}</endPosition>"
        axis = f"<listPositions>{' '.join(f'{v:.6f}' for v in x)}</listPositions>" if listed else axis
        factors = f"<beamAttenuationFactors>{' '.join(['1'] * len(x))}</beamAttenuationFactors>" if counts else ""
        parts.append(
            '<scan scanAxis="Gonio" mode="Continuous" status="Completed"><header>'
            "<startTimeStamp>2024-03-08T11:13:20-06:00</startTimeStamp>"
            "<endTimeStamp>2024-03-08T11:14:20-06:00</endTimeStamp></header><dataPoints>"
            f'<positions axis="2Theta" unit="deg">{axis}</positions>'
            '<positions axis="Phi" unit="deg"><commonPosition>1.0</commonPosition></positions>'
            f'<commonCountingTime unit="seconds">1.0</commonCountingTime>{factors}'
            f'<{tag} unit="counts">{" ".join(f"{y:.0f}" for y in scan[2])}</{tag}></dataPoints></scan>'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/'
        f'{"2.0" if counts else "1.5"}" status="Completed"><xrdMeasurement><usedWavelength intended="{intended}">'
        f'<kAlpha1 unit="Angstrom">{ALPHA1}</kAlpha1><kAlpha2 unit="Angstrom">{ALPHA2}</kAlpha2>'
        f"<ratioKAlpha2KAlpha1>{RATIO}</ratioKAlpha2KAlpha1></usedWavelength>{''.join(parts)}"
        "</xrdMeasurement></xrdMeasurements>"
    ).encode()


def archive(members: dict[str, bytes]) -> bytes:
    """Return a zip file of members by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, data in members.items():
            zip_file.writestr(name, data)
    return stream.getvalue()


def brml(scans: Sequence[Scan]) -> bytes:
    members = {"Experiment0/DataContainer.xml": b"<DataContainer/>"}
    for i, scan in enumerate(scans):
        points = zip(positions(scan), scan[2], strict=True)
        data = "".join(f"<Datum>1,1,{x:.6f},{x / 2:.6f},{y:.0f}</Datum>" for x, y in points)
        members[f"Experiment0/RawData{i}.xml"] = (
            '<?xml version="1.0"?><RawData xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            "<TimeStampStarted>2025-02-26T10:47:52.8708798+00:00</TimeStampStarted>"
            "<TimeStampFinished>2025-02-26T11:17:47.1774022+00:00</TimeStampFinished><DataRoutes>"
            '<DataRoute RouteFlag="Measured"><ScanInformation VisibleName="Coupled"><ScanAxes>'
            '<ScanAxisInfo AxisId="TwoTheta"/><ScanAxisInfo AxisId="Theta"/></ScanAxes></ScanInformation>'
            f'{data}<DataViews><RawDataView xsi:type="VaryingRawDataView" Start="2" Length="2">'
            '<Varying LogicName="ScanAxes"/></RawDataView>'
            '<RawDataView xsi:type="RecordedRawDataView" Start="4" Length="1"/></DataViews></DataRoute></DataRoutes>'
            f'<Tube><WaveLengthAverage Unit="Å" Value="1.5418"/></Tube></RawData>'
        ).encode()
    return archive(members)


def ras(scans: Sequence[Scan], factor: float = 1.0) -> bytes:
    text = "*RAS_DATA_START\r\n"
    for scan in scans:
        header = {
            "FILE_OPERATOR": "日本", "HW_XG_TARGET_NAME": "Cu", "HW_XG_WAVE_LENGTH_ALPHA1": ALPHA1,
            "HW_XG_WAVE_LENGTH_ALPHA2": ALPHA2, "MEAS_COND_XG_WAVE_TYPE": "Ka1", "MEAS_DATA_COUNT": len(scan[2]),
            "MEAS_SCAN_AXIS_X_INTERNAL": "TwoThetaTheta", "MEAS_SCAN_START_TIME": "07/15/21 10:14:16",
            "MEAS_SCAN_UNIT_X": "deg",
        }  # fmt: skip
        text += "*RAS_HEADER_START\r\n" + "".join(f'*{key} "{value}"\r\n' for key, value in header.items())
        text += "*RAS_HEADER_END\r\n*RAS_INT_START\r\n" + rows(scan, f" {factor:.4f}").replace("\n", "\r\n")
        text += "*RAS_INT_END\r\n"
    return (text + "*RAS_DATA_END\r\n").encode("cp932")


def rasx(scans: Sequence[Scan]) -> bytes:
    members = {"root.xml": b"<Root/>"}
    for i, scan in enumerate(scans):
        members[f"Data{i}/Profile0.txt"] = b"\xef\xbb\xbf" + rows(scan, "\t1", "\t").encode()
        members[f"Data{i}/MesurementConditions0.xml"] = (
            "<MeasurementConditions><HWConfigurations><XrayGenerator><TargetName>Cu</TargetName><WaveType>Ka1</WaveType>"
            f"<WavelengthKalpha1>{ALPHA1}</WavelengthKalpha1></XrayGenerator></HWConfigurations><ScanInformation>"
            "<AxisName>TwoTheta</AxisName><PositionUnit>deg</PositionUnit><StartTime>2021-05-05T10:35:31Z</StartTime>"
            f"<EndTime>2021-05-05T12:24:50Z</EndTime><DataCount>{len(scan[2])}</DataCount></ScanInformation>"
            "</MeasurementConditions>"
        ).encode()
    return archive(members)


def raw1(scans: Sequence[Scan]) -> bytes:
    data = b""
    for i, (start, step, counts) in enumerate(scans):
        header = bytearray(152)
        struct.pack_into("<Iff", header, 0, len(counts), 4.0, step)
        struct.pack_into("<ff", header, 20, start, -1e6)
        struct.pack_into("<ff", header, 68, ALPHA1, ALPHA2)
        struct.pack_into("<I", header, 148, i + 1 < len(scans))
        data += b"RAW " + bytes(header) + counts.astype("<f4").tobytes()
    return data


def raw2(scans: Sequence[Scan]) -> bytes:
    header = bytearray(256)
    header[:4], header[168:183], header[188:190] = b"RAW2", b"19-12-199721:57", b"Cu"
    struct.pack_into("<H", header, 4, len(scans))
    struct.pack_into("<fff", header, 190, ALPHA1, ALPHA2, RATIO)
    data = bytes(header)
    for start, step, counts in scans:
        data += struct.pack("<HHxxxxfff40x", 60, len(counts), 3.0, step, start) + counts.astype("<f4").tobytes()
    return data


def raw3(scans: Sequence[Scan]) -> bytes:
    header = bytearray(712)
    header[:8], header[16:26], header[26:36] = b"RAW1.01\x00", b"12/24/2008", b"10:20:30\x00\x00"
    struct.pack_into("<II", header, 8, 1, len(scans))
    struct.pack_into("<ddddd", header, 616, 1.5418, ALPHA1, ALPHA2, 1.39, RATIO)
    data = bytes(header)
    for start, step, counts in scans:
        range_header = bytearray(304)
        struct.pack_into("<IIdd", range_header, 0, 304, len(counts), start / 2, start)
        struct.pack_into("<d", range_header, 176, step)
        struct.pack_into("<fI", range_header, 192, 1.0, 0)
        struct.pack_into("<dIII", range_header, 240, ALPHA1, 0, 4, 40)
        data += bytes(range_header) + bytes(40) + counts.astype("<f4").tobytes()
    return data


def raw4(scans: Sequence[Scan]) -> bytes:
    header = bytearray(61)
    header[:8], header[12:22], header[24:32] = b"RAW4.00\x00", b"11/29/2021", b"11:17:18"
    text = struct.pack("<III", 10, 36 + 4, 0) + b"SAMPLEID".ljust(24, b"\x00") + b"CO-2"
    tube = struct.pack("<II64xddddd24x", 30, 136, 1.5418, ALPHA1, ALPHA2, 1.39, RATIO)
    data = bytes(header) + text + tube
    for start, step, counts in scans:
        range_header = bytearray(160)
        struct.pack_into("<II", range_header, 0, 0, len(counts))
        range_header[32:46] = b"Locked Coupled"
        struct.pack_into("<ddIf", range_header, 72, start, step, len(counts), 1.0)
        struct.pack_into("<d16xII", range_header, 112, ALPHA1, 8, 92)
        records = np.stack([counts, np.zeros(len(counts))], axis=1).astype("<f4")
        data += bytes(range_header) + struct.pack("<II84x", 50, 92) + records.tobytes()
    return data


def nexus(scans: Sequence[Scan], form: str = "axes") -> bytes:
    """One NXdata with @signal and @axes, or as older files ('old'), NXmonopd or NXazint1d mark it; else a stack."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        entry = file.create_group("entry")
        file.attrs["default"], entry.attrs["NX_class"], entry.attrs["default"] = "entry", "NXentry", "data"
        entry["start_time"], entry["end_time"] = "2001-02-07T08:54:21-0600", "2001-02-07T08:55:21-0600"
        entry.create_dataset("instrument/monochromator/wavelength", data=0.4).attrs["units"] = "angstrom"
        data = entry.create_group("data")
        data.attrs["NX_class"] = "NXdata"
        x, y = positions(scans[0]), scans[0][2] if len(scans) == 1 else np.array([scan[2] for scan in scans])
        names = {"azint": ("I", "radial_axis"), "monopd": ("data", "polar_angle")}.get(form, ("counts", "two_theta"))
        signal, axis = data.create_dataset(names[0], data=y), data.create_dataset(names[1], data=x)
        axis.attrs["units"], axis.attrs["long_name"] = "degree", "2theta"
        if form == "axes":
            data.attrs["signal"], data.attrs["axes"] = names[0], [names[1]] if len(scans) == 1 else [".", names[1]]
        elif form == "old":
            signal.attrs["signal"], signal.attrs["axes"] = 1, names[1]
    return stream.getvalue()


# name -> (suffix, writer, whether one file holds many scans)
FORMATS: dict[str, tuple[str, Callable[[Sequence[Scan]], bytes], bool]] = {
    "xrdml": (".xrdml", xrdml, True),
    "xrdml counts": (".xrdml", lambda scans: xrdml(scans, counts=True, listed=True), True),
    "brml": (".brml", brml, True),
    "ras": (".ras", ras, True),
    "rasx": (".rasx", rasx, True),
    "RAW": (".raw", raw1, True),
    "RAW2": (".raw", raw2, True),
    "RAW1.01": (".raw", raw3, True),
    "RAW4.00": (".raw", raw4, True),
    "NXdata": (".nxs", nexus, False),
    "NXdata, older": (".nxs", lambda scans: nexus(scans, "old"), False),
    "NXmonopd": (".nxs", lambda scans: nexus(scans, "monopd"), False),
    "NXazint1d": (".h5", lambda scans: nexus(scans, "azint"), False),
    "uxd": (".uxd", uxd, True),
    "uxd pairs": (".uxd", lambda scans: uxd(scans, pairs=True), True),
    "GSAS STD": (".gsas", gsas, True),
    "GSAS ESD": (".gsas", lambda scans: gsas(scans, "ESD"), True),
    "GSAS FXYE": (".fxye", lambda scans: gsas(scans, "FXYE"), True),
    "stepped": (".dat", stepped, False),
    "columns": (".xy", columns, True),
    "Sietronics": (".cpi", cpi, False),
    "Philips udf": (".udf", udf, False),
    "Jade mdi": (".mdi", mdi, False),
    "Rigaku asc": (".asc", asc, True),
    "powder CIF": (".cif", cif, True),
    "powder CIF, listed": (".cif", lambda scans: cif(scans, listed=True), True),
    "SPEC": (".spec", spec, True),
}
