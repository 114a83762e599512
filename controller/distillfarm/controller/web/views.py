"""What each page shows, gathered from the store; synchronous, to be called in a thread."""

from dataclasses import dataclass

from distillfarm.controller import quality
from distillfarm.controller.accounts import spending
from distillfarm.controller.front import front
from distillfarm.controller.health import Vitals
from distillfarm.controller.readings import Reading, reading
from distillfarm.controller.remarks import remarks
from distillfarm.controller.reports import layers
from distillfarm.controller.reports.evidence import Measured
from distillfarm.controller.store.protocol import MeasurementQuery, Store
from distillfarm.domain.errors import NotFound
from distillfarm.domain.hardware import Device
from distillfarm.domain.measurement import Measurement, Series
from distillfarm.domain.study import MatrixCell, Study, StudyEvent, Trial
from distillfarm.profiles.catalog import shipped
from distillfarm.profiles.schema import ChipsetProfile, PhoneProfile

_SHOWN_MEASUREMENTS = 50
_SHOWN_EVENTS = 200
_SHOWN_STUDIES = 50
_SHOWN_LAYERS = 10


@dataclass(frozen=True)
class StudyLine:
    """A study; ``event`` is its newest while it is under way, None before the first."""

    study: Study
    event: StudyEvent | None


@dataclass(frozen=True)
class Overview:
    """The farm at a glance."""

    devices: tuple[Device, ...]
    studies: tuple[StudyLine, ...]


@dataclass(frozen=True)
class ChipsetTrials:
    """The trials of a study on one chipset; ``front`` are the ids that none other dominates.

    ``chosen`` is the variant chosen for it, if there is one, and ``facts`` what is to be said of
    its quality. ``knee`` is the trial from which every step gives up more than it gains,
    ``spending`` what the search took in words; both are empty before the choice.
    """

    chipset: str
    trials: tuple[Trial, ...]
    front: frozenset[str]
    chosen: Trial | None
    facts: tuple[str, ...]
    knee: str
    spending: tuple[str, ...]


@dataclass(frozen=True)
class StudyPage:
    """One study with its trials by chipset and its newest events, newest first.

    ``costly`` are the source model's costliest layers; ``trained`` is whether a pass has trained.
    """

    study: Study
    chipsets: tuple[ChipsetTrials, ...]
    events: tuple[StudyEvent, ...]
    costly: layers.Costly | None
    trained: bool


@dataclass(frozen=True)
class DevicePage:
    """One device, what is known of its model, and its newest measurements."""

    device: Device
    phone: PhoneProfile | None
    chipset: ChipsetProfile | None
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class MeasurementPage:
    """One measurement with what it says.

    ``resident`` is the largest share of files that stayed in memory before a launch, if known;
    ``remarks`` are facts with their values.
    """

    reading: Reading
    device: Device
    resident: float | None
    remarks: tuple[tuple[str, str], ...]

    @property
    def drawn(self) -> Measured:
        """What its pictures are made of."""
        found = self.reading
        return Measured("", found.measurement, self.device, found.summary)


@dataclass(frozen=True)
class MatrixFilter:
    """What the matrix page was asked for; an empty field means all."""

    study: str = ""
    chipset: str = ""
    model: str = ""
    target: str = ""
    label: str = ""

    def admits(self, cell: MatrixCell) -> bool:
        """Whether a cell is asked for."""
        pairs = (
            (self.study, cell.study_id),
            (self.chipset, cell.chipset),
            (self.model, cell.model_name),
            (self.target, str(cell.target)),
            (self.label, cell.label),
        )
        return all(not wanted or wanted == value for wanted, value in pairs)


@dataclass(frozen=True)
class MatrixChoices:
    """What each filter can be set to."""

    study: tuple[str, ...]
    chipset: tuple[str, ...]
    model: tuple[str, ...]
    target: tuple[str, ...]
    label: tuple[str, ...]


def overview(store: Store, vitals: Vitals) -> Overview:
    """All devices, and the newest studies."""
    lines = []
    for study in store.studies()[:_SHOWN_STUDIES]:
        events = [] if study.state.final else store.events(study.study_id)
        lines.append(StudyLine(study, events[-1] if events else None))
    return Overview(tuple(map(vitals.on, store.devices())), tuple(lines))


def study_page(store: Store, study_id: str) -> StudyPage:
    """One study."""
    study = store.study(study_id)
    trials = store.trials(study_id)
    names = sorted({each.chipset for each in trials} | {each.chipset for each in study.choices})
    events = store.events(study_id)[-_SHOWN_EVENTS:]
    return StudyPage(
        study,
        tuple(_chipset_trials(study, trials, name) for name in names),
        tuple(reversed(events)),
        layers.costly(study.analysis, _SHOWN_LAYERS),
        any(report.curve for each in trials if each.exported for report in each.exported.reports),
    )


def chipset_trials(store: Store, study_id: str, chipset: str) -> ChipsetTrials:
    """The trials of a study on one chipset.

    Raises:
        NotFound: no such study, or no trial of it on that chipset.
    """
    found = _chipset_trials(store.study(study_id), store.trials(study_id), chipset)
    if not found.trials:
        raise NotFound(f"study {study_id} has no trial on {chipset!r}")
    return found


def device_page(store: Store, vitals: Vitals, device_id: str) -> DevicePage:
    """One device."""
    device = vitals.on(store.device(device_id))
    catalog = shipped()
    measurements = store.measurements(MeasurementQuery(device_id=device_id))
    return DevicePage(
        device,
        catalog.phone(device.info),
        catalog.chipset(device.info),
        tuple(measurements[:_SHOWN_MEASUREMENTS]),
    )


def measurement_page(store: Store, measurement_id: str) -> MeasurementPage:
    """One measurement."""
    found = reading(store, measurement_id)
    stayed = [each.page_cache_resident for each in found.measurement.launches]
    resident = max((each for each in stayed if each is not None), default=None)
    device = store.device(found.measurement.device_id)
    told = () if found.measurement.emulated else remarks(found.measurement, found.summary)
    return MeasurementPage(found, device, resident, tuple(told))


def series(store: Store, measurement_id: str, number: int) -> Series:
    """What one meter saw during a measurement.

    Raises:
        NotFound: no such measurement or series, or one of an emulated device, which says nothing.
    """
    found = store.measurement(measurement_id)
    if found.emulated or not 0 <= number < len(found.series):
        raise NotFound(f"measurement {measurement_id} has no series {number}")
    return found.series[number]


def matrix_choices(cells: list[MatrixCell]) -> MatrixChoices:
    """The values that occur in the cells."""
    return MatrixChoices(
        study=tuple(sorted({cell.study_id for cell in cells} - {""})),
        chipset=tuple(sorted({cell.chipset for cell in cells})),
        model=tuple(sorted({cell.model_name for cell in cells})),
        target=tuple(sorted({str(cell.target) for cell in cells})),
        label=tuple(sorted({cell.label for cell in cells})),
    )


def _chipset_trials(study: Study, trials: list[Trial], chipset: str) -> ChipsetTrials:
    here = tuple(each for each in trials if each.chipset == chipset)
    choice = next((each for each in study.choices if each.chipset == chipset), None)
    wanted = choice.trial_id if choice else ""
    chosen = next((each for each in here if each.trial_id == wanted), None)
    exported = chosen.exported if chosen else None
    facts = quality.facts(exported, study.spec.sla) if exported else ()
    return ChipsetTrials(
        chipset,
        here,
        front(here, study.spec.objective),
        chosen,
        facts,
        choice.knee_trial_id if choice else "",
        tuple(spending(choice.spent)) if choice and choice.spent else (),
    )
