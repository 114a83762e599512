"""Runs untrusted work in killable subprocesses with limits on memory, time and disk."""
