"""``distillfarm profiles``: what is known of phones and chipsets, and checking a site's own."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from distillfarm.cli.console import output, row, say, show, table, write
from distillfarm.cli.failures import ExitCode
from distillfarm.cli.options import JsonOption
from distillfarm.domain.errors import NotFound
from distillfarm.profiles.catalog import SHIPPED, Catalog, shipped
from distillfarm.profiles.reading import KINDS, read, strays
from distillfarm.profiles.schema import (
    ChipsetProfile,
    Gauge,
    PhoneProfile,
    Quirk,
)

app = typer.Typer(
    no_args_is_help=True, help="See what is known of phones and chipsets; check profiles."
)


@app.command("list")
def list_profiles(*, as_json: JsonOption = False) -> None:
    """List the phones and chipsets that have a profile, the site's own among them."""
    catalog = shipped()
    if as_json:
        write(msgspec.json.encode({"phones": catalog.phones, "chipsets": catalog.chipsets}))
        return
    phones = table(
        "Phones", "profile", "phone", "chipset", "memory GB", "quirks", right=("quirks",)
    )
    for name, phone in sorted(catalog.phones.items()):
        memory = ", ".join(map(str, phone.memory_gb))
        row(phones, name, str(phone), phone.chipset, memory, str(len(phone.quirks)))
    chipsets = table("Chipsets", "profile", "chipset", "reached by", "quirks", right=("quirks",))
    for name, chipset in sorted(catalog.chipsets.items()):
        targets = ", ".join(sorted(map(str, chipset.targets)))
        row(chipsets, name, str(chipset), targets, str(len(chipset.quirks)))
    output().print(phones, chipsets, sep="\n\n")


@app.command("show")
def show_profile(
    name: Annotated[
        str, typer.Argument(help="A profile, or a name by which a device tells itself.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one profile: every fact, its source, and the known quirks."""
    catalog = shipped()
    profile = _find(catalog, name)
    if as_json:
        write(msgspec.json.encode(profile))
    else:
        _print(catalog, profile)


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A site's own folder of profiles.")
    ],
) -> None:
    """Read a site's profiles over the shipped ones; one line a mistake, exit code 1 for any."""
    found = [*read([SHIPPED, folder]).mistakes]
    if folder.is_dir():
        found += strays(folder)
    for mistake in found:
        show(mistake)
    if found:
        say(f"mistakes: {len(found)}")
        raise typer.Exit(ExitCode.ERROR)
    show(f"{folder}: {_contents(folder)}; no mistakes")


def _contents(folder: Path) -> str:
    counts = []
    for kind in KINDS:
        names = {path.name for path in (folder / kind).glob("*.yaml")}
        over = sorted(names & {path.name for path in (SHIPPED / kind).glob("*.yaml")})
        replaced = f" ({', '.join(over)} instead of the shipped)" if over else ""
        counts.append(f"{len(names)} {kind}{replaced}")
    return ", ".join(counts)


def _find(catalog: Catalog, name: str) -> PhoneProfile | ChipsetProfile:
    profiles: dict[str, PhoneProfile | ChipsetProfile] = {**catalog.chipsets, **catalog.phones}
    if name in profiles:
        return profiles[name]
    names = {
        told.casefold(): profile
        for profile in profiles.values()
        for told in (*profile.reported_as, str(profile), *_codenames(profile))
    }
    if name.casefold() in names:
        return names[name.casefold()]
    close = difflib.get_close_matches(name, [*profiles, *names], n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "see: distillfarm profiles list"
    raise NotFound(f"no profile is called {name!r}; {hint}")


def _codenames(profile: PhoneProfile | ChipsetProfile) -> tuple[str, ...]:
    return profile.codenames if isinstance(profile, PhoneProfile) else ()


def _print(catalog: Catalog, profile: PhoneProfile | ChipsetProfile) -> None:
    facts = table(str(profile), "", "", "source")
    facts.show_header = False
    for name, values in _facts(catalog, profile):
        source = profile.sources.get(name, "")
        for value in values:
            row(facts, name.replace("_", " "), value, source)
            source = ""
    output().print(facts, "")
    show("Known quirks", style="bold")
    quirks = [*_platform_quirks(catalog, profile), *profile.quirks]
    if isinstance(profile, PhoneProfile):
        quirks += catalog.chipsets[profile.chipset].quirks
    for quirk in quirks:
        show(f"- {', '.join(quirk.affects) or 'the device'}: {quirk.text} {quirk.source}")
    if not quirks:
        show("- none documented")


def _platform_quirks(catalog: Catalog, profile: PhoneProfile | ChipsetProfile) -> Iterator[Quirk]:
    for platform in catalog.platforms.values():
        if platform.platform is profile.platform:
            yield from platform.quirks


def _facts(
    catalog: Catalog, profile: PhoneProfile | ChipsetProfile
) -> Iterator[tuple[str, Iterable[str]]]:
    yield "platform", [profile.platform.value]
    yield "reported_as", [", ".join(profile.reported_as)]
    match profile:
        case PhoneProfile():
            yield "codenames", [", ".join(profile.codenames)] if profile.codenames else []
            yield "chipset", [str(catalog.chipsets[profile.chipset])]
            memory = " or ".join(map(str, profile.memory_gb))
            yield "memory_gb", [memory] if memory else []
            rails = {True: "yes", False: "no", None: ""}[profile.power_rails]
            yield "power_rails", [rails] if rails else []
            yield "gauge", _gauge(profile.gauge)
        case ChipsetProfile():
            yield "boards", [", ".join(profile.boards)] if profile.boards else []
            yield (
                "clusters",
                [f"{each.cores} x {each.core}, {each.max_mhz} MHz" for each in profile.clusters],
            )
            yield (
                "accelerators",
                [
                    f"{each.unit.value} {each.name}: "
                    f"{', '.join(each.targets) or 'no way known to reach it'}"
                    for each in profile.accelerators
                ],
            )


def _gauge(gauge: Gauge | None) -> list[str]:
    if gauge is None:
        return []
    told = []
    if gauge.current_unit is not None:
        told.append(f"current in {gauge.current_unit.value}")
    if gauge.discharging is not None:
        told.append(f"{gauge.discharging.value} while discharging")
    return [", ".join(told)]
