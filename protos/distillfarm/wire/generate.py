"""Writes the generated code of the messages anew, or checks that it is up to date and compatible.

``python -m distillfarm.wire.generate`` after every change of a .proto file; ``--check`` in CI;
``--release`` when a version is released, which from then on must be understood for ever. Needs
``pip install 'distillfarm[dev]'``, which pins the compiler and its plug-ins.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from distillfarm.domain.errors import FarmError, InvalidRequest, MissingExtra
from distillfarm.wire.compatibility import breaks

PACKAGE = Path("distillfarm/wire/v1")
RELEASED = "released.bin"
"""The descriptors of the last release, beside the .proto files."""

_PROTOS = Path(__file__).resolve().parents[2]
_GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(protos: Path, out: Path) -> None:
    """Write the code of ``protos/distillfarm/wire/v1/*.proto`` under ``out``.

    Raises:
        InvalidRequest: the compiler refuses a file; its own message went to stderr.
        MissingExtra: the compiler or a plug-in is not installed.
    """
    files = sorted((protos / PACKAGE).glob("*.proto"))
    services = [file for file in files if "\nservice " in file.read_text()]
    _compile(protos, [f"--python_out={out}", *_plugin("mypy", out)], files)
    _compile(protos, [f"--grpc_python_out={out}", *_plugin("mypy_grpc", out)], services)


def descriptors(protos: Path) -> FileDescriptorSet:
    """What the .proto files say now.

    Raises:
        InvalidRequest: the compiler refuses a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / RELEASED
        files = sorted((protos / PACKAGE).glob("*.proto"))
        _compile(protos, [f"--descriptor_set_out={file}"], files)
        return FileDescriptorSet.FromString(file.read_bytes())


def problems(protos: Path) -> list[str]:
    """What is stale, and what the last release would misunderstand; empty when all is well.

    Raises:
        InvalidRequest: the compiler refuses a file.
    """
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(protos, fresh)
        wanted, found = _contents(fresh / PACKAGE), _contents(protos / PACKAGE)
    stale = sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    )
    released = FileDescriptorSet.FromString((protos / PACKAGE / RELEASED).read_bytes())
    return [
        *(f"{PACKAGE / name} is stale: python -m distillfarm.wire.generate" for name in stale),
        *breaks(released, descriptors(protos)),
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m distillfarm.wire.generate")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 on a problem")
    parser.add_argument("--release", action="store_true", help="also keep this as released")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            found = problems(_PROTOS)
            sys.stderr.writelines(f"{line}\n" for line in found)
            return 1 if found else 0
        for pattern in _GENERATED:
            for file in (_PROTOS / PACKAGE).glob(pattern):
                file.unlink()
        generate(_PROTOS, _PROTOS)
        if options.release:
            content = descriptors(_PROTOS).SerializeToString(deterministic=True)
            (_PROTOS / PACKAGE / RELEASED).write_bytes(content)
    except FarmError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _compile(protos: Path, options: list[str], files: list[Path]) -> None:
    if importlib.util.find_spec("grpc_tools") is None:
        raise MissingExtra("generating needs: pip install 'distillfarm[dev]'")
    # In a process of its own: it brings a C++ protobuf, which crashes beside that of TensorFlow.
    names = [str(file.relative_to(protos)) for file in files]
    compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", *options, *names]
    if subprocess.run(compiler, check=False).returncode != 0:
        raise InvalidRequest(f"protoc refuses the files in {protos / PACKAGE}; see above")


def _plugin(name: str, out: Path) -> tuple[str, str]:
    # The compiler looks for plug-ins on PATH, where an environment that is not activated is not.
    folder = Path(sys.executable).parent
    program = shutil.which(f"protoc-gen-{name}", path=folder) or shutil.which(f"protoc-gen-{name}")
    if program is None:
        raise MissingExtra(f"protoc-gen-{name}: pip install 'distillfarm[dev]'")
    return f"--plugin=protoc-gen-{name}={program}", f"--{name}_out=quiet:{out}"


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for pattern in _GENERATED for file in folder.glob(pattern)}


if __name__ == "__main__":
    sys.exit(main())
