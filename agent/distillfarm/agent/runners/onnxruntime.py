"""Artifacts for ONNX Runtime."""

from distillfarm.agent.runners.program import ProgramRunner
from distillfarm.domain.hardware import Runtime


class OnnxRuntimeRunner(ProgramRunner):
    """Runs .onnx files on an execution provider."""

    runtime = Runtime.ONNXRUNTIME
    suffix = ".onnx"
