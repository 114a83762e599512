"""Makes ``quantised.tflite``: ``python tests/golden/phone_models/make.py``.

Needs tensorflow; made with tensorflow 2.21. A dense layer whose input and output are int8, from a
free number of rows.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent


def rows() -> Iterator[list[np.ndarray]]:
    """What the ranges are taken from."""
    noise = np.random.default_rng(5)
    for _ in range(32):
        yield [noise.standard_normal((1, 8)).astype(np.float32)]


def main() -> None:
    """Write the model."""
    weight = tf.constant(np.random.default_rng(6).standard_normal((8, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float32, name="row")])  # type: ignore[untyped-decorator]
    def run(row: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"score": tf.nn.relu(row @ weight)}

    module = tf.Module()
    module.run = run
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [run.get_concrete_function()], module
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = rows
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    (FOLDER / "quantised.tflite").write_bytes(converter.convert())


if __name__ == "__main__":
    main()
