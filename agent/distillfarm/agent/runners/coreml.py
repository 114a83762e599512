"""Artifacts for Core ML."""

from distillfarm.agent.runners.program import ProgramRunner
from distillfarm.domain.hardware import Runtime


class CoreMlRunner(ProgramRunner):
    """Runs packages of Core ML on iPhones, each as the tar of its folder.

    The delegate is the choice of compute units: ``all``, ``cpu_and_neural_engine``,
    ``cpu_and_gpu`` or ``cpu_only``. It is a permission, not an order: Core ML decides which of them
    runs what, and never tells.
    """

    runtime = Runtime.COREML
    suffix = ".mlpackage.tar"
