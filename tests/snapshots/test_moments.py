"""Times as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_backup.snapshots.moments import moment

NOW = datetime(2026, 5, 8, 14, 30, 15, tzinfo=timezone.utc)
UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-05-05", datetime(2026, 5, 5, 23, 59, 59, tzinfo=UTC)),
        ("2026-05-05 12:00", datetime(2026, 5, 5, 12, tzinfo=UTC)),
        ("2026-05-05T12:00:07Z", datetime(2026, 5, 5, 12, 0, 7, tzinfo=UTC)),
        ("2026-05-05T12:00+0200", datetime(2026, 5, 5, 10, tzinfo=UTC)),
        ("2026-05-05 12:00:00-05:30", datetime(2026, 5, 5, 17, 30, tzinfo=UTC)),
        ("3 days ago", datetime(2026, 5, 5, 14, 30, 15, tzinfo=UTC)),
        ("1 hour ago", datetime(2026, 5, 8, 13, 30, 15, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 5, 7, 23, 59, 59, tzinfo=UTC)),
        ("now", NOW),
    ],
)
def test_a_time_is_read(text: str, meant: datetime) -> None:
    assert moment(text, NOW) == meant


@pytest.mark.parametrize(
    "text",
    [
        "latest",
        "12",
        "000012-20260505T033000Z",
        "2026-13-05",
        "2026-05-05 25:00",
        "3 fortnights ago",
        "",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert moment(text, NOW) is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_a_second_of_utc_is_that_second(when: datetime) -> None:
    whole = when.replace(microsecond=0)
    assert moment(f"{whole.isoformat()}Z", NOW) == whole.replace(tzinfo=UTC)
    assert moment(f"{whole:%Y-%m-%d}" if whole.year > 999 else "", NOW) == whole.replace(
        hour=23, minute=59, second=59, tzinfo=UTC
    )


@given(st.integers(0, 9999))
def test_so_long_ago(number: int) -> None:
    assert moment(f"{number} hours ago", NOW) == NOW - timedelta(hours=number)
