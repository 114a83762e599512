"""What the agent and the process that speaks to one iPhone say to each other, a JSON line each.

The agent asks, the worker answers each question by its number and in any order. Neither side ever
waits for ever: a question carries how long its answer may take.
"""

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

LONGEST_LINE_BYTES = 512 * 2**20
"""A result with ten million samples, in base64, and room."""

Answer = TypeVar("Answer")


class Question(msgspec.Struct, Generic[Answer], frozen=True, tag_field="ask"):
    """Something that the worker can do; ``answer`` is the type of what it says then.

    ``repeatable`` is whether it may be asked again when nobody knows how far a lost one came.
    """

    answer: ClassVar[Any]
    repeatable: ClassVar[bool] = True


class Identity(msgspec.Struct, frozen=True):
    """Who an iPhone is.

    ``paired`` is whether it trusts this computer. All but ``udid``, ``product`` and ``version`` is
    told to trusted computers alone: then None or empty.
    """

    udid: str
    product: str
    version: str
    build: str
    board: str
    platform: str
    name: str
    paired: bool
    locked: bool | None = None
    developer_mode: bool | None = None
    virtual: bool = False
    firmware: str = ""
    baseband: str = ""


class Identify(Question[Identity], frozen=True, tag="identify"):
    """Who it is; asks nobody to trust anything."""

    answer = Identity


class Pair(Question[None], frozen=True, tag="pair"):
    """Have the phone ask its user to trust this computer; does not wait for what they say."""

    answer = type(None)


class Supervisor(msgspec.Struct, frozen=True):
    """Who supervises phones, by files of this computer.

    ``identity`` holds a certificate and its key, as PKCS #12 or PEM; ``password_file`` holds
    its password, empty where it has none.
    """

    identity: str
    password_file: str = ""


class PairSupervised(Question[None], frozen=True, tag="pair_supervised"):
    """Have the phone trust this computer by the identity that supervises it, without a tap."""

    answer = type(None)
    supervisor: Supervisor


class SupervisorTold(msgspec.Struct, frozen=True):
    """What the certificate of an identity says: whose it is, and until when in Unix time."""

    subject: str
    expires_at_s: float


class DescribeSupervisor(Question[SupervisorTold], frozen=True, tag="describe_supervisor"):
    """What an identity says of itself; asks no phone."""

    answer = SupervisorTold
    supervisor: Supervisor


class Supervision(Question[bool | None], frozen=True, tag="supervision"):
    """Whether it is supervised, so that it needs nobody to tap on it; None where it tells not."""

    answer = bool | None


class Condition(msgspec.Struct, frozen=True):
    """How an iPhone fares, as it tells without running anything; None is what it does not tell."""

    locked: bool | None = None
    battery_percent: float | None = None
    charging: bool | None = None
    by_cable: bool | None = None
    battery_c: float | None = None
    cycles: int | None = None
    free_bytes: int | None = None


class Look(Question[Condition], frozen=True, tag="look"):
    """How it fares."""

    answer = Condition


class ImageMounted(Question[bool], frozen=True, tag="image_mounted"):
    """Whether the developer image is mounted; it is gone after every restart."""

    answer = bool


class MountImage(Question[bool], frozen=True, tag="mount_image"):
    """Mount the developer image where it is missing; whether it was missing."""

    answer = bool


class InstalledApp(msgspec.Struct, frozen=True):
    """An app on the phone; ``version`` is its build number."""

    bundle: str
    version: str
    signer: str = ""


class FindApp(Question[InstalledApp | None], frozen=True, tag="find_app"):
    """Whether an app is installed."""

    answer = InstalledApp | None
    bundle: str


class InstallApp(Question[None], frozen=True, tag="install_app"):
    """Install an .ipa of this computer; over an older one it keeps its files."""

    answer = type(None)
    path: str


class Profile(msgspec.Struct, frozen=True):
    """A provisioning profile on the phone; ``app`` is the identifier it is for."""

    name: str
    app: str
    expires_at_s: float


class Profiles(Question[tuple[Profile, ...]], frozen=True, tag="profiles"):
    """The provisioning profiles that are installed."""

    answer = tuple[Profile, ...]


class SendFile(Question[None], frozen=True, tag="send_file"):
    """Put a file into an app's container whole: it has its name only once all of it is there."""

    answer = type(None)
    bundle: str
    source: str
    remote: str


class FetchFile(Question[None], frozen=True, tag="fetch_file"):
    """Copy a file out of an app's container."""

    answer = type(None)
    bundle: str
    remote: str
    destination: str


class ReadFile(Question[bytes | None], frozen=True, tag="read_file"):
    """A file's content; None where there is none."""

    answer = bytes | None
    bundle: str
    remote: str
    most_bytes: int


class WriteFile(Question[None], frozen=True, tag="write_file"):
    """Put a small file into an app's container whole."""

    answer = type(None)
    bundle: str
    remote: str
    content: bytes


class FileSize(Question[int | None], frozen=True, tag="file_size"):
    """How large a file is, in bytes; None where there is none."""

    answer = int | None
    bundle: str
    remote: str


class Folder(msgspec.Struct, frozen=True):
    """A folder by its name, with the size of the files in it and the Unix time of their change."""

    name: str
    size_bytes: int
    changed_at_s: float


class Folders(Question[tuple[Folder, ...]], frozen=True, tag="folders"):
    """The folders in a folder; none where there is no such."""

    answer = tuple[Folder, ...]
    bundle: str
    remote: str


class RemoveFolder(Question[None], frozen=True, tag="remove_folder"):
    """Remove a folder with all that is in it; nothing where there is none."""

    answer = type(None)
    bundle: str
    remote: str


class Begin(Question[int], frozen=True, tag="begin"):
    """Start an app in a fresh process, ending one that runs; its process id.

    That makes it repeatable: what a lost one started is ended by the next.
    """

    answer = int
    bundle: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


class Cores(Question[int], frozen=True, tag="cores"):
    """How many cores its processor has, as Instruments tells."""

    answer = int


class Progress(msgspec.Struct, frozen=True):
    """What a started app said since it was last asked, and whether it ended.

    ``code`` and ``signal`` are None where the phone tells none. ``dropped`` counts lines beyond
    what is kept.
    """

    lines: tuple[str, ...]
    ended: bool
    code: int | None = None
    signal: int | None = None
    dropped: int = 0


class Follow(Question[Progress], frozen=True, tag="follow"):
    """Wait up to ``wait_s`` for something new of a started app; the lines from number ``line``."""

    answer = Progress
    repeatable = False
    pid: int
    line: int
    wait_s: float


class End(Question[None], frozen=True, tag="end"):
    """End a started app and wait until it is gone; nothing where it is."""

    answer = type(None)
    pid: int


class Usage(msgspec.Struct, frozen=True):
    """What a process used at ``at_s`` of this computer's monotonic clock."""

    at_s: float
    footprint_bytes: int
    cpu_percent: float


class Usages(Question[tuple[Usage, ...]], frozen=True, tag="usages"):
    """What apps used, as Instruments tells, since a moment of the monotonic clock."""

    answer = tuple[Usage, ...]
    since_s: float


class Report(msgspec.Struct, frozen=True):
    """A crash report as it lies on the phone."""

    name: str
    text: str


class CrashReports(Question[tuple[Report, ...]], frozen=True, tag="crash_reports"):
    """Reports of ``process`` and of memory running short that were not in ``known``."""

    answer = tuple[Report, ...]
    process: str
    known: tuple[str, ...]


class ReportNames(Question[tuple[str, ...]], frozen=True, tag="report_names"):
    """The names of all crash reports on the phone."""

    answer = tuple[str, ...]


class HangUp(Question[None], frozen=True, tag="hang_up"):
    """End the tunnel and everything that was opened for launches."""

    answer = type(None)


AnyQuestion = (
    Identify
    | Pair
    | PairSupervised
    | DescribeSupervisor
    | Supervision
    | Look
    | ImageMounted
    | MountImage
    | FindApp
    | InstallApp
    | Profiles
    | SendFile
    | FetchFile
    | ReadFile
    | WriteFile
    | FileSize
    | Folders
    | RemoveFolder
    | Begin
    | Cores
    | Follow
    | End
    | Usages
    | CrashReports
    | ReportNames
    | HangUp
)


class Asked(msgspec.Struct, frozen=True):
    """One line of the agent's."""

    number: int
    timeout_s: float
    question: AnyQuestion


class Told(msgspec.Struct, frozen=True, tag_field="reply", tag="told"):
    """One line of the worker's: an answer, in JSON."""

    number: int
    answer: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag_field="reply", tag="failed"):
    """One line of the worker's: why there is no answer.

    ``kind`` is the name of what the library raised, ``words`` its text.
    """

    number: int
    kind: str
    words: str


Reply = Told | Failed
