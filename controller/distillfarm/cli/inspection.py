"""``distillfarm inspect``: what a model file is made of, found out in a sandbox."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from distillfarm.cli import formats
from distillfarm.cli.console import messages, output, row, show, table, write
from distillfarm.cli.failures import extra
from distillfarm.cli.options import JsonOption
from distillfarm.domain.model import Analysis, TensorSpec


def inspect_model(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A model file or folder.")],
    *,
    factory: Annotated[
        str, typer.Option(help="file.py:function that builds the module of a state dict.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show format, signature, size, operators and likely bottlenecks of any model file.

    The file is read in a process without rights to harm this one; nothing in it is executed.
    """
    with extra("compression"):
        from distillfarm.compression.inspection import inspect  # noqa: PLC0415  lazy
    with messages().status("reading the model"):
        analysis = inspect(model, factory=factory)
    if as_json:
        write(msgspec.json.encode(analysis))
    else:
        _print(model.name, analysis)


def _print(name: str, analysis: Analysis) -> None:
    facts = table(name, "", "")
    facts.show_header = False
    row(facts, "format", analysis.format.value)
    row(facts, "size", formats.byte_count(analysis.size_bytes))
    row(facts, "parameters", f"{analysis.parameters:,}")
    row(facts, "multiply-accumulates for one sample", f"{analysis.macs:,}")
    row(facts, "types", ", ".join(analysis.dtypes))
    row(facts, "inputs", _tensors(analysis.signature.inputs))
    row(facts, "outputs", _tensors(analysis.signature.outputs))
    operators = table("Operators", "operator", "count", "MACs", right=("count", "MACs"))
    for each in analysis.operators:
        row(operators, each.operator, str(each.count), f"{each.macs:,}" if each.macs else "")
    output().print(facts, operators, sep="\n\n")
    for sentence in analysis.bottlenecks:
        show(f"- {sentence}")


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(
        f"{spec.name}: {spec.dtype} "
        f"[{', '.join('?' if size < 0 else str(size) for size in spec.shape)}]"
        for spec in specs
    )
