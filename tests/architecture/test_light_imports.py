"""What is meant to be light loads no framework, in a fresh interpreter."""

import os
import subprocess
import sys

HEAVY = (
    "torch",
    "tensorflow",
    "keras",
    "jax",
    "coreai",
    "coreai_torch",
    "coremltools",
    "onnx",
    "onnxruntime",
    "litert_torch",
    "scipy.stats",
    "scipy.optimize",
    "matplotlib",
    "model_signing",
)

LIGHT = [
    "distillfarm.domain.study",
    "distillfarm.profiles.support",
    "distillfarm.wire.convert",
    "distillfarm.wire.blobs",
    "distillfarm.sandbox.tasks",
    "distillfarm.compression",
    "distillfarm.compression.protocols",
    "distillfarm.compression.compress",
    "distillfarm.compression.candidates",
    "distillfarm.compression.workshop",
    "distillfarm.compression.worker",
    "distillfarm.compression.inspection",
    "distillfarm.controller.pipeline",
    "distillfarm.controller.web.app",
    "distillfarm.controller.server",
    "distillfarm.controller.study_runner",
    "distillfarm.agent.main",
    "distillfarm.client",
    "distillfarm.cli.main",
]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )


def test_light_modules_load_no_framework() -> None:
    """One interpreter for all of them: the first that loads something heavy is named."""
    run = python(
        "import importlib, sys\n"
        f"for light in {LIGHT!r}:\n"
        "    importlib.import_module(light)\n"
        f"    heavy = sorted(each for each in {HEAVY!r} if each in sys.modules)\n"
        "    if heavy:\n"
        "        sys.exit(f'{light} loads {heavy}')\n"
    )
    assert run.returncode == 0, run.stderr


def test_the_agent_runs_where_torch_cannot_be_imported() -> None:
    run = python(
        "import sys\n"
        "absent = ('torch', 'tensorflow', 'onnx', 'coremltools', 'jax', 'dbos', 'sqlmodel')\n"
        # No entry of None in sys.modules: SciPy takes what is there for a module that is loaded.
        "class Absent:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] in absent:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import distillfarm.agent.main, distillfarm.client\n"
    )
    assert run.returncode == 0, run.stderr


def test_the_check_itself_sees_a_framework() -> None:
    run = python("import sys, onnxruntime; print('onnxruntime' in sys.modules)")
    assert run.stdout.strip() == "True"
