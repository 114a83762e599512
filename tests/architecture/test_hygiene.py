"""The repository holds source, not results, and speaks of nothing but itself."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

RESULTS = re.compile(
    r"(^|/)(out|dist|build|\.distillfarm|\.venv|__pycache__)/|\.(db|sqlite3?|log|pyc|whl|pte)$"
)
# Left-overs of writing, and places that exist on one machine only.
FORBIDDEN = re.compile(
    r"\b(TODO|FIXME|XXX|HACK)\b|lorem ipsum"
    r"|/work/|/opt/(pypi|wheels)|/home/\w+/",
    re.IGNORECASE,
)
LIMIT_BYTES = 10_000_000


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_no_generated_result_is_tracked() -> None:
    names = [str(path.relative_to(ROOT)) for path in tracked()]
    assert [name for name in names if RESULTS.search(name)] == []


def test_no_tracked_file_is_large() -> None:
    assert [path for path in tracked() if path.stat().st_size > LIMIT_BYTES] == []


def test_no_source_holds_a_left_over() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in {".npz", ".gz", ".png", ".bin"}:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []
