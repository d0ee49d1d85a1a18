"""Bytes and seconds as people write them."""

from __future__ import annotations


def human_bytes(count: float) -> str:
    """`count` bytes with a decimal unit: 93 MB, 13.5 GB (1 GB = 10^9 bytes)."""
    units = iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while abs(count) >= 1000 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.3g} {unit}"


def human_time(seconds: float) -> str:
    """`seconds` as people say it: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
