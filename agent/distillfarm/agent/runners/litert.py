"""Artifacts for LiteRT."""

from distillfarm.agent.runners.program import ProgramRunner
from distillfarm.domain.hardware import Runtime


class LitertRunner(ProgramRunner):
    """Runs .tflite files with XNNPACK or with LiteRT's built-in kernels."""

    runtime = Runtime.LITERT
    suffix = ".tflite"
