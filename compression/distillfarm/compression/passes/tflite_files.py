"""What every .tflite quantiser needs to know of a file."""

from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from distillfarm.compression.protocols import PassRefused


def signature_key(path: Path) -> str:
    """The name of the model's first signature, by which samples are fed in.

    Raises:
        PassRefused: the file has none.
    """
    names = list(Interpreter(str(path)).get_signature_list())
    if not names:
        raise PassRefused("the .tflite file has no signature; convert the model again with one")
    return str(names[0])
