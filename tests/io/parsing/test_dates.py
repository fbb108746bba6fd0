"""Dates of headers are read only where they can be read in one way."""

from __future__ import annotations

import datetime

import pytest

from xrd_jax.io.parsing import dates

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2025-02-26T10:47:52.8708798+00:00", datetime.datetime(2025, 2, 26, 10, 47, 52, 870879, tzinfo=UTC)),
        ("APR 12, 2017 01:23:16.472073", datetime.datetime(2017, 4, 12, 1, 23, 16, 472073)),
        ("12-Aug-2009 17:04:05", datetime.datetime(2009, 8, 12, 17, 4, 5)),
        ("Mon Sep 27 13:05:07 2021", datetime.datetime(2021, 9, 27, 13, 5, 7)),
        ("9/27/2021 1:05:07 PM", datetime.datetime(2021, 9, 27, 13, 5, 7)),
        ("27.09.2021 13:05", datetime.datetime(2021, 9, 27, 13, 5)),
        ("2021/09/10 13:05:07", datetime.datetime(2021, 9, 10, 13, 5, 7)),
        ("09/10/2021 13:05:07", None),  # two readings
        ("10/10/2021 13:05:07", datetime.datetime(2021, 10, 10, 13, 5, 7)),
        ("06/11/26 13:59:11", None),
        ("07/31/21 10:14:16", datetime.datetime(2021, 7, 31, 10, 14, 16)),
        ("2021-09-10", None),
        ("13:05:07", None),
        ("0001-01-01T00:00:00", None),
        ("31/31/2021 10:00:00", None),
        ("", None),
    ],
)
def test_dates_are_read_only_where_one_reading_is_possible(text, time):
    assert dates.parse_datetime(text) == time
