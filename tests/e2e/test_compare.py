"""Two real models on this computer: launched in turn, and measured apart."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distillfarm.cli.measuring import Measured
from distillfarm.cli.tenancy import running_farm
from distillfarm.client.comparing import Compared
from distillfarm.domain.measurement import Comparison, Finding, Outcome

pytestmark = pytest.mark.e2e

PAIRS = "10"
WIDTH = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Holds ``short.onnx``, ``long.onnx`` with eight times its layers, and a farm's state."""
    made = tmp_path_factory.mktemp("compare")
    layers(made / "short.onnx", 2)
    layers(made / "long.onnx", 16)
    with subprocess.Popen(
        command(made, "up", "--listen", "127.0.0.1:0", "--web-listen", "")
    ) as farm:
        deadline_s = time.monotonic() + 120
        while running_farm(made / "state") is None:
            assert time.monotonic() < deadline_s, "the farm does not start"
            time.sleep(0.2)
        yield made
        farm.terminate()


def layers(path: Path, count: int) -> None:
    """A chain of matrix products."""
    weights = np.random.default_rng(0).standard_normal((WIDTH, WIDTH)).astype(np.float32) / 16
    names = ["x", *(f"h{number}" for number in range(1, count)), "y"]
    nodes = [
        helper.make_node("MatMul", [names[number], "w"], [names[number + 1]])
        for number in range(count)
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8, WIDTH])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def command(folder: Path, *arguments: str) -> list[str]:
    state = ("--state-dir", str(folder / "state"))
    return [sys.executable, "-m", "distillfarm.cli", *arguments, *state]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command beside the farm."""
    return subprocess.run(
        command(folder, *arguments), capture_output=True, text=True, timeout=280, check=False
    )


def of(metric: str, compared: Compared) -> Comparison:
    return next(each for each in compared.comparisons if each.metric == metric)


def test_the_slower_of_two_models_is_told_and_fails_a_pipeline(folder: Path) -> None:
    short, long = str(folder / "short.onnx"), str(folder / "long.onnx")
    result = run(
        folder, "compare", short, long, "--launches", PAIRS, "--json", "--fail-if", "slower"
    )
    compared = msgspec.json.decode(result.stdout, type=Compared)
    assert [each.outcome for each in compared.sides] == [Outcome.OK, Outcome.OK]
    assert [len(each.launches) for each in compared.sides] == [10, 10]
    warm = of("warm_p50", compared)
    assert (warm.finding, warm.interleaved, warm.launches) == (Finding.SLOWER, True, 10)
    assert warm.ratio.low > 1.5
    assert result.returncode == 3
    assert "B is slower in warm p50" in result.stderr


def test_a_model_against_itself_shows_nothing_that_counts(folder: Path) -> None:
    short = str(folder / "short.onnx")
    result = run(folder, "compare", short, short, "--launches", PAIRS, "--json")
    assert result.returncode == 0
    warm = of("warm_p50", msgspec.json.decode(result.stdout, type=Compared))
    # In one run of a hundred a difference is shown where there is none; none so large, though.
    assert warm.finding is Finding.NO_DIFFERENCE or abs(warm.ratio.value - 1) < warm.minimum_effect


def test_two_measurements_are_compared_later_by_their_ids(folder: Path) -> None:
    ids = []
    for name in ("short.onnx", "long.onnx"):
        measured = run(
            *(folder, "measure", str(folder / name), "--runtime", "onnxruntime"),
            *("--launches", "8", "--json"),
        )
        found = msgspec.json.decode(measured.stdout, type=Measured)
        ids.append(found.measurement.measurement_id)
    result = run(folder, "compare", *ids)
    assert result.returncode == 0, result.stderr
    assert "measured apart" in result.stdout
    assert "SLOWER, warm p50 +" in result.stdout.splitlines()[0]
    refused = run(folder, "compare", ids[0], "measurement-0")
    assert refused.returncode == 1
    assert "measurement-0 is unknown" in refused.stderr
