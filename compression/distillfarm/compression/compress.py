"""Where in a recipe the change to the target's file format happens."""

from dataclasses import dataclass
from enum import Enum

from distillfarm.compression import registry
from distillfarm.compression.protocols import Exporter
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.hardware import Target
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.variant import PassSpec, Recipe


class StepKind(Enum):
    """What a step does: one of ``Workshop``'s methods of the same name."""

    APPLY = "apply"
    CONVERT = "convert"
    EXPORT = "export"


@dataclass(frozen=True)
class Step:
    """One piece of work on a variant; ``spec`` is set for APPLY alone."""

    kind: StepKind
    spec: PassSpec | None = None


def steps(recipe: Recipe, source_format: ModelFormat, target: Target) -> tuple[Step, ...]:
    """The work that turns a model of ``source_format`` into an artifact for ``target``.

    Passes run in their order. The change of format (CONVERT, at most once) stands before the
    first pass that cannot take the model as it is, or at the end. The last step is always EXPORT,
    which judges the file and makes its fixed inputs. Pure: reads no file and loads no framework.

    Raises:
        InvalidRequest: an unknown pass or setting, a runtime without an exporter, or an order
            that cannot work; the text names the pass and the remedy.
    """
    exporter = registry.exporter(target.runtime)
    plan: list[Step] = []
    current = source_format
    for spec in recipe.passes:
        each = registry.compression_pass(spec.name)
        each.check(spec)
        if current not in each.formats and exporter.format in each.formats:
            plan.extend(_conversion(current, exporter, target))
            current = exporter.format
        if current not in each.formats:
            raise InvalidRequest(
                f"{spec} cannot take a {current.value} model, only"
                f" {', '.join(sorted(form.value for form in each.formats))};"
                " put it elsewhere in the recipe, or begin with distill, which gives a PyTorch"
                " module"
            )
        plan.append(Step(StepKind.APPLY, spec))
        current = each.gives or current
    return (*plan, *_conversion(current, exporter, target), Step(StepKind.EXPORT))


def trainings(recipe: Recipe) -> int:
    """How many passes change a module; nearly all train it, which takes longest by far."""
    known = registry.known(registry.PASSES)
    passes = [registry.compression_pass(each.name) for each in recipe.passes if each.name in known]
    return sum(ModelFormat.TORCH_MODULE in each.formats for each in passes)


def _conversion(current: ModelFormat, exporter: Exporter, target: Target) -> tuple[Step, ...]:
    if current is exporter.format:
        return ()
    if current not in exporter.sources:
        raise InvalidRequest(
            f"a {current.value} model cannot be exported for {target}; begin the recipe with"
            " distill, which gives a PyTorch student that can"
        )
    return (Step(StepKind.CONVERT),)
