"""``distillfarm inspect``: what a model file is made of, found out in a sandbox."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from distillfarm.cli import formats
from distillfarm.cli.analysis_tables import layer_table, sensitivity_table
from distillfarm.cli.console import harmless, messages, output, row, show, table, write
from distillfarm.cli.failures import extra
from distillfarm.cli.options import JsonOption
from distillfarm.domain.hardware import parse_target
from distillfarm.domain.model import Analysis, ModelFormat, TensorSpec

_OPERATORS = 12
_RECIPES = 4
_TARGETS = ("onnxruntime", "litert")


def inspect_model(
    model: Annotated[Path, typer.Argument(metavar="FILE", help="A model file or folder.")],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="NPZ",
            help="Samples and labels: says what every technique costs on each layer alone.",
        ),
    ] = None,
    factory: Annotated[
        str, typer.Option(help="file.py:function that builds the module of a state dict.")
    ] = "",
    evaluator: Annotated[
        str, typer.Option(help="file.py:function that replaces accuracy; larger is better.")
    ] = "",
    layers: Annotated[int, typer.Option(min=1, help="How many layers to show.")] = 15,
    as_json: JsonOption = False,
) -> None:
    """Show what a model is made of, where its cost lies, and which techniques follow from it.

    Needs no farm. The file is read and run in a process without rights to harm this computer.
    Times are of this computer, not of a phone.
    """
    with extra("compression"):
        from distillfarm.compression.inspection import inspect  # noqa: PLC0415  lazy
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
        console=messages(),
        transient=True,
    )
    with bar:
        step = bar.add_task("reading the model", total=1.0)
        analysis = inspect(
            model,
            factory=factory,
            data=data,
            evaluator=evaluator,
            report=lambda done, text: bar.update(
                step, completed=done, description=harmless(text)[:60]
            ),
        )
    if as_json:
        write(msgspec.json.encode(analysis))
    else:
        _print(model.name, analysis, layers, asked=data is not None)


def _print(name: str, analysis: Analysis, layers: int, *, asked: bool) -> None:
    parts = [_facts(name, analysis), _operators(analysis), layer_table(analysis, layers)]
    if analysis.sensitivity:
        parts.append(sensitivity_table(analysis.sensitivity, layers))
    for part in parts:
        output().print(part, "")
    if analysis.profile:
        show(f"Times: {analysis.profile}.", style="dim")
    show("")
    show("What follows", style="bold")
    for sentence in analysis.bottlenecks:
        show(f"- {sentence}")
    if not asked:
        show("- with --data FILE.npz this also says what each technique costs on each layer")
    show("")
    show("What a study would try first", style="bold")
    for target in _TARGETS:
        show(
            f"- {target}: {'; '.join(_recipes(analysis, target)) or 'nothing can be built for it'}"
        )


def _recipes(analysis: Analysis, target: str) -> list[str]:
    from distillfarm.compression.candidates import propose  # noqa: PLC0415  lazy

    if analysis.format is ModelFormat.TORCH_STATE:
        # What a study makes of it, with its factory.
        analysis = replace(analysis, format=ModelFormat.TORCH_MODULE)
    found = propose(analysis, [parse_target(target)])
    return [str(each.recipe) for each in found if each.recipe.passes][:_RECIPES]


def _facts(name: str, analysis: Analysis) -> Table:
    made = table(name, "", "")
    made.show_header = False
    row(made, "format", analysis.format.value)
    row(made, "size", formats.byte_count(analysis.size_bytes))
    row(made, "parameters", f"{analysis.parameters:,}")
    row(made, "multiply-accumulates for one sample", f"{analysis.macs:,}")
    row(made, "bytes moved for one sample", formats.byte_count(analysis.traffic_bytes))
    if analysis.traffic_bytes:
        row(made, "multiply-accumulates a byte", f"{analysis.macs / analysis.traffic_bytes:.1f}")
    row(made, "types of weights", ", ".join(analysis.dtypes))
    row(made, "inputs", _tensors(analysis.signature.inputs))
    row(made, "outputs", _tensors(analysis.signature.outputs))
    return made


def _operators(analysis: Analysis) -> Table:
    made = table("Operators", "operator", "count", "MACs", right=("count", "MACs"))
    for each in analysis.operators[:_OPERATORS]:
        row(made, each.operator, str(each.count), f"{each.macs:,}" if each.macs else "")
    if others := analysis.operators[_OPERATORS:]:
        count = sum(each.count for each in others)
        row(made, f"{len(others)} kinds more", str(count), f"{sum(each.macs for each in others):,}")
    return made


def _tensors(specs: Sequence[TensorSpec]) -> str:
    return "; ".join(
        f"{spec.name}: {spec.dtype} "
        f"[{', '.join('?' if size < 0 else str(size) for size in spec.shape)}]"
        for spec in specs
    )
