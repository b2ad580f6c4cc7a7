"""Fixtures of the tests of risk's commands."""

from tests.risk.screening.list_files import directory

__all__ = ["directory"]
