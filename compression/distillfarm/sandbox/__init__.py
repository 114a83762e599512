"""Runs untrusted work in killable subprocesses with limits on memory, time and disk."""

from distillfarm.sandbox.limits import Limits

__all__ = ["Limits"]
