"""The kinds of jobs that risk has: to add one, number it here and name its runner in jobs/kinds.py."""

from __future__ import annotations

from enum import IntEnum


class JobKind(IntEnum):
    """What a job does. The numbers are stored."""

    BACKTEST = 1
    TRAINING = 2
