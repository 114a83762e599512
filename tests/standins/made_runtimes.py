"""Archives as makers publish them, with made binaries inside, and a folder as pip's index."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import made_elf

ONNXRUNTIME_VERSION = "1.29.0"
GLIBC_LIBRARY = made_elf.library("OrtGetApiBase", glibc=True, version=f"VERS_{ONNXRUNTIME_VERSION}")
BIONIC_LIBRARY = made_elf.library("OrtGetApiBase", version=f"VERS_{ONNXRUNTIME_VERSION}")
LITERT_LIBRARY = made_elf.library("LiteRtCreateCompiledModel")


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip file, which wheels and Android archives are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def wheel(folder: Path, version: str = ONNXRUNTIME_VERSION, package: str = "onnxruntime") -> Path:
    """ONNX Runtime's wheel for 64-bit Arm, as small as pip takes one."""
    tag = "py3-none-manylinux_2_28_aarch64"
    about = f"{package}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    library = made_elf.library("OrtGetApiBase", glibc=True, version=f"VERS_{version}")
    return zipped(
        folder / f"{package}-{version}-{tag}.whl",
        {
            "onnxruntime/__init__.py": b"",
            f"onnxruntime/capi/libonnxruntime.so.{version}": library,
            "onnxruntime/capi/libonnxruntime_providers_shared.so": b"not wanted",
            "onnxruntime/LICENSE": b"MIT",
            f"{about}/METADATA": metadata.encode(),
            f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
            f"{about}/RECORD": b"",
        },
    )


def aar(path: Path) -> Path:
    """ONNX Runtime's Android archive."""
    return zipped(
        path,
        {
            "AndroidManifest.xml": b"<manifest/>",
            "jni/arm64-v8a/libonnxruntime.so": BIONIC_LIBRARY,
            "jni/x86_64/libonnxruntime.so": made_elf.library(
                "OrtGetApiBase", machine=made_elf.X86_64
            ),
        },
    )


def npm_package(path: Path, inner: bytes) -> Path:
    """An npm package with an Android archive inside."""
    members = {
        "package/package.json": b"{}",
        "package/Plugins/Android/onnxruntime.aar": inner,
        "package/Plugins/Linux/x64/libonnxruntime.so": b"not wanted",
        "package/LICENSE": b"MIT",
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
