"""The Swift sources of the iPhone's app parse, and their structs have the golden files' fields.

A grammar is no compiler: it finds what is no Swift, and no wrong types.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

tree_sitter = pytest.importorskip(
    "tree_sitter", reason="not installed: pip install tree-sitter tree-sitter-swift"
)
tree_sitter_swift = pytest.importorskip(
    "tree_sitter_swift", reason="not installed: pip install tree-sitter-swift"
)

if TYPE_CHECKING:
    from tree_sitter import Node

ROOT = Path(__file__).parents[3]
APP = ROOT / "agent" / "phone" / "ios"
GOLDEN = ROOT / "tests" / "golden" / "iphone_jobs"
SOURCES = sorted(APP.rglob("*.swift"))


def parsed(source: bytes) -> "Node":
    language = tree_sitter.Language(tree_sitter_swift.language())
    root: Node = tree_sitter.Parser(language).parse(source).root_node
    return root


def below(node: "Node") -> Iterator["Node"]:
    for child in node.children:
        yield child
        yield from below(child)


def mistakes(source: bytes) -> list[str]:
    """Where a source is no Swift, by line and text."""
    return [
        f"line {node.start_point[0] + 1}: {text(node)[:60]!r}"
        for node in below(parsed(source))
        if node.is_error or node.is_missing
    ]


def text(node: "Node | None") -> str:
    return (node.text or b"").decode() if node else ""


def named(root: "Node", name: str) -> "Node":
    """The body of a struct or enum."""
    for node in below(root):
        if node.type == "class_declaration" and text(node.child_by_field_name("name")) == name:
            body = node.child_by_field_name("body")
            assert body
            return body
    raise AssertionError(f"no {name}")


def coding_keys(body: "Node") -> dict[str, str]:
    """The JSON key of each property."""
    keys: dict[str, str] = {}
    for entry in named(body, "CodingKeys").children:
        if entry.type == "enum_entry":
            found = [text(each) for each in entry.children_by_field_name("name")]
            raw = [text(each) for each in entry.children_by_field_name("raw_value")]
            assert len(found) == 1, "one case a line"
            keys[found[0]] = raw[0].strip('"') if raw else found[0]
    return keys


def stored(body: "Node") -> set[str]:
    """The stored properties of a struct."""
    return {
        text(each.child_by_field_name("name"))
        for each in body.children
        if each.type == "property_declaration" and "static" not in text(each)
    }


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def finished() -> Any:
    return golden("result_onnxruntime")["events"][-1]


def test_there_are_sources_of_the_app_of_its_package_and_of_its_tests() -> None:
    folders = {each.parent.relative_to(APP).as_posix() for each in SOURCES}
    assert {"App", "JobKit/Sources/JobKit", "JobKit/Tests/JobKitTests"} <= folders


@pytest.mark.parametrize("path", SOURCES, ids=lambda each: each.relative_to(APP).as_posix())
def test_a_source_is_swift(path: Path) -> None:
    assert mistakes(path.read_bytes()) == []


@pytest.mark.parametrize(
    "source",
    [
        b"func f( -> Int { 1 }",
        b"struct A { let x Int }",
        b"func f() { if x { }",
        b"let x = = 1",
    ],
)
def test_what_is_no_swift_is_found(source: bytes) -> None:
    assert mistakes(source)


@pytest.mark.parametrize(
    ("file", "struct", "example"),
    [
        ("JobFile", "JobFile", golden("job_coreml")),
        ("AnswerFiles", "StatusFile", golden("status_loaded")),
        ("AnswerFiles", "ResultFile", golden("result_coreml")),
        ("AnswerFiles", "Conditions", golden("result_coreml")["before"]),
        ("Measured", "Placement", golden("result_coreml")["predicted"][0]),
        ("Measured", "Finished", {k: v for k, v in finished().items() if k != "event"}),
        ("Measured", "MemoryReading", finished()["memory"]),
        ("Measured", "OutputError", finished()["errors"][0]),
    ],
)
def test_a_struct_has_the_fields_of_the_golden_files(
    file: str, struct: str, example: dict[str, object]
) -> None:
    source = APP / "JobKit" / "Sources" / "JobKit" / f"{file}.swift"
    body = named(parsed(source.read_bytes()), struct)
    keys = coding_keys(body)
    assert set(keys.values()) == set(example)
    assert stored(body) == set(keys)


def test_the_package_needs_nothing_of_apples() -> None:
    for path in SOURCES:
        if "JobKit" in path.parts:
            imports = {
                text(each).removeprefix("import ").strip()
                for each in below(parsed(path.read_bytes()))
                if each.type == "import_declaration"
            }
            ours = {"Foundation", "Crypto", "XCTest", "PackageDescription", "Darwin", "Glibc"}
            assert {each.removeprefix("@testable import ") for each in imports} - ours <= {"JobKit"}
