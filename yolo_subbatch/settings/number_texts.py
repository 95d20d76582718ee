"""Numbers and durations as people read them, the same in a terminal and in the window.

A number stands in four ways: ``brief`` where many stand side by side, ``significant`` where digits are compared from
line to line, ``shortest`` where it was given or is round, ``grouped`` where it counts something.
"""

from __future__ import annotations

import math

KIB, MIB, GIB = 2**10, 2**20, 2**30  # bytes
#: A duration below a minute, an hour, two days, and any longer one; the window has them in its own language.
DURATIONS = ("{seconds} s", "{minutes} min", "{hours} h {minutes} min", "{days} d {hours} h")
LONG = 48  # hours, from which on days are told


def duration(seconds: float, patterns: tuple[str, str, str, str] = DURATIONS) -> str:
    """Return a duration: ``40 s``, ``41 min``, ``3 h 5 min``, ``2 d 4 h``.

    Args:
        seconds: The duration.
        patterns: Those of ``DURATIONS``, in another language.
    """
    minutes = round(seconds / 60)
    if round(seconds) < 60:
        return patterns[0].format(seconds=round(seconds))
    if minutes < 60:
        return patterns[1].format(minutes=minutes)
    hours, rest = divmod(minutes, 60)
    if hours < LONG:
        return patterns[2].format(hours=hours, minutes=rest)
    return patterns[3].format(days=hours // 24, hours=hours % 24)


def countdown(seconds: float) -> str:
    """Return a duration that counts down, to the second: ``2:03``, ``1:02:03``; two days and more as ``3 d 4 h``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= LONG:
        return DURATIONS[3].format(days=hours // 24, hours=hours % 24)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def grouped(number: int) -> str:
    """Return a whole number in groups of three digits."""
    return f"{number:,}".replace(",", "\u202f")


def brief(value: float | None) -> str:
    """Return a number with two to five digits that tell something; ``-`` for one that is not finite."""
    if value is None or not math.isfinite(value):
        return "-"
    if not value:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def significant(value: float | None, digits: int = 4) -> str:
    """Return a number with that many significant digits, and every digit before its point: ``0.0001235``, ``12346``."""
    if value is None:
        return "-"
    return f"{value:.0f}" if math.isfinite(value) and 10**digits <= abs(value) < 1e7 else f"{value:.{digits}g}"


def shortest(value: float) -> str:
    """Return a number as short as it can be written: ``20``, ``0.05``, ``1e-3``."""
    if value == 0 or 0.002 <= abs(value) < 1e5:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):.3g}e{int(exponent)}"


def percent(share: float) -> str:
    """Return a share of one in percent, without the sign; as short as any other number where it is none."""
    return f"{100 * share:.1f}" if abs(share) <= 1 else brief(100 * share)


def memory_size(size: float | None) -> str:
    """Return an amount of memory in bytes with the unit that suits it: ``640 MiB``, ``5.2 GiB``."""
    if size is None or math.isnan(size):
        return "-"
    if round(size / MIB) < 1024:
        return f"{size / MIB:.0f} MiB"
    return f"{size / GIB:.1f} GiB" if size < 1e6 * GIB else f"{brief(size / GIB)} GiB"


def file_size(size: int) -> str:
    """Return the size of a file in bytes with the unit that suits it: ``640 KiB``, ``61.5 MiB``."""
    return f"{size / MIB:.1f} MiB" if size >= MIB else f"{size / KIB:.0f} KiB"
