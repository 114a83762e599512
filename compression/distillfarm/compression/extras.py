"""Which optional extra an import that failed was asking for."""

from distillfarm.domain.errors import MissingExtra

_EXTRAS = {
    "coreai": "coreai",
    "coreai_torch": "coreai",
    "coremltools": "coreml",
    "executorch": "executorch",
    "jax": "litert",
    "keras": "tensorflow",
    "tensorflow": "tensorflow",
    "torchao": "litert",
}


def missing(work: str, error: ImportError) -> MissingExtra:
    """The error to raise: what ``work`` needs, by the name of the extra."""
    package = (error.name or "").partition(".")[0]
    extras = ",".join(filter(None, ("compression", _EXTRAS.get(package))))
    return MissingExtra(f"{work} needs pip install 'distillfarm[{extras}]': {error}")
