"""Artifacts for Core AI."""

from distillfarm.agent.runners.program import ProgramRunner
from distillfarm.domain.hardware import Runtime


class CoreAiRunner(ProgramRunner):
    """Runs Core AI models on iPhones with iOS 27 and newer, each as the tar of its folder.

    The delegate is what the model is specialised for: ``cpu_only`` restricts it to the CPU,
    ``prefer_gpu`` and ``prefer_neural_engine`` are wishes, ``default`` leaves the choice to Core
    AI, which never tells what ran where. A computer runs ``cpu_only`` alone, for its outputs.
    """

    runtime = Runtime.COREAI
    suffix = ".aimodel.tar"
