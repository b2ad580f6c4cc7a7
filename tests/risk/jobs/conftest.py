"""Fixtures of the tests of risk's jobs."""

from tests.risk.jobs.rescreening_desk import desk

__all__ = ["desk"]
