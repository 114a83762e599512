"""What stock quantisers with their defaults make of the same FP32 files."""

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from techniques import stock
from techniques.recipes import LITERT, ONNX

_OLIVE = "olive-ai==0.13.0"
# Olive reaches for these without asking for them.
_BESIDE_OLIVE = ("onnxruntime", "requests")
_ROOT = Path(__file__).parents[2]
_LIMIT_S = 300
Report = Callable[[str], None]


@dataclass(frozen=True)
class Peer:
    """A quantiser; ``method`` is what ``stock.py`` calls it."""

    name: str
    runtime: str
    method: str


STOCK = (
    Peer("ONNX Runtime quantize_dynamic", ONNX, "onnxruntime_dynamic"),
    Peer("ONNX Runtime quantize_static", ONNX, "onnxruntime_static"),
    Peer("ai-edge-quantizer dynamic_wi8_afp32", LITERT, "recipe:dynamic_wi8_afp32"),
    Peer("ai-edge-quantizer static_wi8_ai8", LITERT, "recipe:static_wi8_ai8"),
    Peer("ai-edge-quantizer weight_only_wi8_afp32", LITERT, "recipe:weight_only_wi8_afp32"),
    Peer("ai-edge-quantizer dynamic_wi4_afp32", LITERT, "recipe:dynamic_wi4_afp32"),
)
OLIVE = (
    Peer("Olive OnnxDynamicQuantization", ONNX, "olive:OnnxDynamicQuantization"),
    Peer("Olive OnnxStaticQuantization", ONNX, "olive:OnnxStaticQuantization"),
    Peer("Olive OnnxBlockWiseRtnQuantization", ONNX, "olive:OnnxBlockWiseRtnQuantization"),
)


@dataclass(frozen=True)
class PeerFile:
    """What a peer made; ``failed`` says why there is no file."""

    peer: Peer
    path: Path
    failed: str = ""
    seconds: float = 0.0
    peak_rss_bytes: int = 0


def olive_python(cache: Path, report: Report) -> Path:
    """The interpreter of an environment with Olive, made in ``cache`` the first time.

    Raises:
        OSError: it cannot be made; the text is pip's last line.
    """
    folder = cache / _OLIVE.replace("==", "-")
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    report(f"making an environment for {_OLIVE}")
    venv.create(folder, clear=True, with_pip=True)
    # The same versions of ONNX Runtime and PyTorch as here, where both have them.
    command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    pins = ["--constraint", str(_ROOT / "constraints.txt")]
    wanted = [_OLIVE, *_BESIDE_OLIVE]
    done = subprocess.run([*command, *pins, *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(_last_line(done.stderr))
    (folder / "complete").touch()
    return python


def quantised(
    peer: Peer, python: Path | None, source: Path, calibration: Path, folder: Path
) -> PeerFile:
    """``source`` as the peer makes it, in a process of its own; ``python`` None is this one's.

    Peers write beside the file that they read, so each has a folder with a copy.
    """
    own = folder / peer.method.replace(":", "-")
    own.mkdir()
    copy, path = own / source.name, own / f"quantised{source.suffix}"
    shutil.copyfile(source, copy)
    began = time.monotonic()
    command = [python or sys.executable, stock.__file__, peer.method, copy, calibration, path]
    try:
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, "OMP_NUM_THREADS": "1", "OLIVE_DISABLE_TELEMETRY": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        return PeerFile(peer, path, f"not finished after {_LIMIT_S} s")
    seconds = time.monotonic() - began
    if done.returncode:
        return PeerFile(peer, path, _last_line(done.stderr), seconds)
    told = json.loads(_last_line(done.stdout))
    return PeerFile(peer, path, "", seconds, told["peak_rss_bytes"])


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word"])[-1]
