"""What can be kept for phones, where each comes from, and how it is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from distillfarm.domain.errors import InvalidRequest


class Flavour(StrEnum):
    """The C library and machine that a binary is for; Android's is bionic, boards have glibc."""

    BIONIC_AARCH64 = "bionic-aarch64"
    GLIBC_AARCH64 = "glibc-aarch64"
    GLIBC_X86_64 = "glibc-x86_64"


class Kind(Enum):
    """How a binary is used."""

    LIBRARY = "library"
    PROGRAM = "program"


@dataclass(frozen=True)
class PipPackage:
    """A wheel that the site's package index has."""

    name: str


@dataclass(frozen=True)
class NpmPackage:
    """A package that the site's npm registry has."""

    name: str


@dataclass(frozen=True)
class ByHand:
    """Nothing that a package client brings.

    ``how`` tells an operator where to get it; ``{flavour}`` in it stands for which.
    """

    how: str


Source = PipPackage | NpmPackage | ByHand


@dataclass(frozen=True)
class Item:
    """One program or library.

    A library exports at least one of ``symbols``. ``members`` are its paths in the archives that
    makers publish, the preferred first, ``companions`` those of what it loads itself, ``inner``
    those of an archive inside the archive; all are patterns.
    """

    name: str
    kind: Kind
    by_hand: ByHand
    symbols: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()
    sources: Mapping[Flavour, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Build:
    """An item for a flavour."""

    item: Item
    flavour: Flavour

    @property
    def source(self) -> Source:
        """Where it comes from."""
        return self.item.sources.get(self.flavour, self.item.by_hand)

    @property
    def remedy(self) -> str:
        """What an operator does to have it here."""
        match self.source:
            case ByHand(how):
                told = how.replace("{flavour}", self.flavour)
                return f"{told}, then `distillfarm runtimes add {self} FILE --version VERSION`"
            case _:
                return f"`distillfarm runtimes fetch {self}`"

    def __str__(self) -> str:
        return f"{self.item.name} {self.flavour}"


def build(name: str, flavour: str) -> Build:
    """The item called ``name`` for the flavour of that name.

    Raises:
        InvalidRequest: nothing is called so.
    """
    named = {each.name: each for each in ITEMS}
    if name not in named:
        raise InvalidRequest(f"nothing for phones is called {name!r}; there are {', '.join(named)}")
    if flavour not in list(Flavour):
        raise InvalidRequest(f"no flavour {flavour!r}; there are {', '.join(Flavour)}")
    return Build(named[name], Flavour(flavour))


def _tool(name: str, maker: str) -> Item:
    how = f"build {name} from {maker} or take a build of its makers"
    return Item(name, Kind.PROGRAM, ByHand(how), members=(name, f"*/{name}"))


_ONNXRUNTIME = Item(
    "onnxruntime",
    Kind.LIBRARY,
    ByHand("take it from a release of ONNX Runtime"),
    symbols=("OrtGetApiBase",),
    members=(
        "onnxruntime/capi/libonnxruntime.so.*",
        # The makers' own release for Linux; the shorter names there are links.
        "*/lib/libonnxruntime.so.*.*.*",
        "jni/arm64-v8a/libonnxruntime.so",
    ),
    inner=("package/Plugins/Android/onnxruntime.aar",),
    sources={
        # ONNX Runtime's own Android archive, unchanged, in the plug-in for Unity
        # (github.com/asus4/onnxruntime-unity): the makers publish it in Maven repositories only.
        Flavour.BIONIC_AARCH64: NpmPackage("com.github.asus4.onnxruntime"),
        Flavour.GLIBC_AARCH64: PipPackage("onnxruntime"),
        Flavour.GLIBC_X86_64: PipPackage("onnxruntime"),
    },
)
_LITERT = Item(
    "litert",
    Kind.LIBRARY,
    ByHand(
        "download the file litert-VERSION.aar of com.google.ai.edge.litert:litert from Google's "
        "Maven repository"
    ),
    # The two C interfaces that our runner knows; LiteRT 1 and TensorFlow Lite have the second.
    symbols=("LiteRtCreateCompiledModel", "TfLiteInterpreterCreate"),
    members=(
        "ai_edge_litert/libLiteRt.so",
        "jni/arm64-v8a/libLiteRt.so",
        "jni/arm64-v8a/libtensorflowlite_jni.so",
    ),
    companions=(
        "jni/arm64-v8a/libLiteRt*Accelerator.so",
        "jni/arm64-v8a/libtensorflowlite_gpu_jni.so",
    ),
    sources={
        Flavour.GLIBC_AARCH64: PipPackage("ai-edge-litert"),
        Flavour.GLIBC_X86_64: PipPackage("ai-edge-litert"),
    },
)
_RUNNER = Item(
    "distillfarm-runner",
    Kind.PROGRAM,
    ByHand("build it in distillfarm's source by `make runner FLAVOUR={flavour}`"),
    members=("distillfarm-runner", "*/distillfarm-runner"),
)
ITEMS = (
    _ONNXRUNTIME,
    _LITERT,
    _RUNNER,
    _tool("benchmark_model", "LiteRT"),
    _tool("onnxruntime_perf_test", "ONNX Runtime"),
    _tool("executor_runner", "ExecuTorch"),
)
