"""Writes ExecuTorch programs (.pte)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distillfarm.compression.exporters.base import FileExporter
from distillfarm.compression.exporters.routes import Route
from distillfarm.compression.protocols import ExportRefused, WorkingModel, Workspace
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat, Signature

if TYPE_CHECKING:
    import torch

INPUT_NAMES, OUTPUT_NAMES = "input_names", "output_names"
XNNPACK, PORTABLE = "xnnpack", "portable"


class ExecuTorchExporter(FileExporter):
    """PyTorch through ``to_edge_transform_and_lower``, for XNNPACK or for the portable kernels.

    Keras goes the same way on its torch backend. XNNPACK takes what it can; the rest runs in
    portable kernels. A .pte knows its inputs by position alone, so the constant methods
    ``input_names`` and ``output_names`` give their names, each as a JSON list. The batch is 1.
    """

    format = ModelFormat.EXECUTORCH
    sources = frozenset(
        {
            ModelFormat.EXECUTORCH,
            ModelFormat.KERAS,
            ModelFormat.TORCH_EXPORT,
            ModelFormat.TORCH_MODULE,
        }
    )
    file_name = "model.pte"

    def routes(
        self, source: WorkingModel, path: Path, target: Target, workspace: Workspace
    ) -> Sequence[Route]:
        """One: what ``torch.export`` cannot follow, ExecuTorch cannot run."""
        from distillfarm.compression.exporters import torch_sources

        opened = torch_sources.opened(source, workspace)
        return [
            Route(
                f"ExecuTorch with {target.delegate}",
                lambda: write(
                    opened.exported(), opened.signature, target.delegate, path, workspace
                ),
            )
        ]

    def notes(self, path: Path, workspace: Workspace) -> Sequence[str]:
        """Nothing beyond what writing has noted."""
        del path, workspace
        return []


def write(
    program: "torch.export.ExportedProgram",
    signature: Signature,
    delegate: str,
    path: Path,
    workspace: Workspace,
) -> None:
    """Lower a program of batch 1 for a delegate; a note says what the delegate takes.

    Raises:
        ExportRefused: a delegate that nothing is lowered for.
    """
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower

    edge = to_edge_transform_and_lower(
        program,
        partitioner=_partitioners(delegate),
        constant_methods={
            INPUT_NAMES: json.dumps([each.name for each in signature.inputs]),
            OUTPUT_NAMES: json.dumps([each.name for each in signature.outputs]),
        },
    )
    found = get_delegation_info(edge.exported_program().graph_module)
    left = sorted(
        f"{count.non_delegated} {name}"
        for name, count in found.delegation_by_operator.items()
        if count.non_delegated and name != "getitem"
    )
    path.write_bytes(edge.to_executorch().buffer)
    workspace.notes.append(
        f"{delegate} takes {found.num_delegated_nodes} operators in"
        f" {found.num_delegated_subgraphs} parts; in portable kernels run"
        f" {', '.join(left) or 'none'}"
    )


def _partitioners(delegate: str) -> list[Any]:
    if delegate == PORTABLE:
        return []
    if delegate == XNNPACK:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

        return [XnnpackPartitioner()]
    raise ExportRefused(
        f"nothing is lowered for {delegate!r}; ExecuTorch targets take {XNNPACK} or {PORTABLE}"
    )
