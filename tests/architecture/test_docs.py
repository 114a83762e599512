"""What the guides tell people to type exists, and what they link to is there."""

import re
from pathlib import Path

import pytest
import typer

from distillfarm.agent.drivers.android import faults
from distillfarm.agent.drivers.fault import Fault
from distillfarm.agent.settings import AgentSettings
from distillfarm.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every ``distillfarm`` and ``make`` command line of the page's shell blocks."""
    lines = "\n".join(BLOCK.findall(page.read_text())).replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if re.match(r"(distillfarm|make) ", line)]


ALL = [(page.name, line) for page in PAGES for line in commands(page)]


def problem(line: str) -> str:
    """What is wrong with a command line, or nothing."""
    words = [word for word in line.split() if "=" not in word]
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "" if words[1] in targets else f"no target {words[1]}"
    command = typer.main.get_command(app)
    rest = words[1:]
    while (inner := getattr(command, "commands", None)) is not None:
        if rest[0] not in inner:
            return f"no command {rest[0]}"
        command = inner[rest.pop(0)]
    known = {option for each in command.params for option in each.opts}
    unknown = [word for word in rest if word.startswith("--") and word not in known]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize(("page", "line"), ALL)
def test_every_command_in_the_guides_exists(page: str, line: str) -> None:
    assert problem(line) == "", page


@pytest.mark.parametrize(
    "line", ["make nonsense", "distillfarm nonsense", "distillfarm devices list --nonsense"]
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    assert problem(line)


def test_the_guides_hold_commands() -> None:
    assert {"README.md", "operators.md", "engineers.md"} <= {page for page, _ in ALL}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def android_guide() -> str:
    return (ROOT / "docs" / "android.md").read_text()


def test_the_guide_of_android_has_every_fault_with_whose_it_is() -> None:
    known = [each for each in vars(faults).values() if isinstance(each, Fault)]
    assert len(known) > 10
    no_program = faults.classify_exit(127)
    assert no_program is not None
    rows = re.findall(r"^\| `([a-z ]+)` \| [^|]+ \| (\w+)", android_guide(), re.MULTILINE)
    told = dict(rows)
    expected = {each.name: each.blame.value for each in (*known, no_program)}
    assert {name: told.get(name) for name in expected} == expected


def test_the_guide_of_android_has_every_setting_of_phones() -> None:
    own = ("adb_", "link_", "phone_", "revive_", "runtimes_", "external_")
    names = [each for each in AgentSettings.model_fields if each.startswith(own)]
    assert len(names) >= 8
    missing = [
        each for each in names if f"`DISTILLFARM_AGENT_{each.upper()}`" not in android_guide()
    ]
    assert missing == []
