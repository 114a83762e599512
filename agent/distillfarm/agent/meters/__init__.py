"""Instruments that watch a job."""
