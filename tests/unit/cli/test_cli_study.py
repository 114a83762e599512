from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cli_lab import Lab, Run, done_study, trial
from farm_samples import DIGEST, LITERT, ONNX

from distillfarm.cli import study_run
from distillfarm.cli.sources import format_of
from distillfarm.cli.study_results import best_trials
from distillfarm.cli.study_run import Finished
from distillfarm.domain.errors import InvalidRequest
from distillfarm.domain.model import ModelFormat
from distillfarm.domain.study import (
    Budget,
    Metric,
    PhoneVerdict,
    Spent,
    StudyEvent,
    StudyState,
    Verdict,
)

SLA = "accuracy_drop<=2pt, warm_p90<=10ms"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The options of a study whose files exist."""
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "net.py").write_text("def build(): ...")
    (tmp_path / "data.npz").write_bytes(b"data")
    return [
        *("--model", "model.pt", "--factory", "net.py:build", "--data", "data.npz"),
        *("--sla", SLA, "--target", "onnxruntime", "--target", "litert"),
    ]


@pytest.fixture
def whole_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles arrive whole; that they are checked is the bundle's own test."""

    async def fetch(client: object, study: object, out: Path) -> str:
        return "sha256:signer"

    monkeypatch.setattr(study_run, "fetch_bundle", fetch)


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.PASS, 0), (Verdict.FAIL, 3), (Verdict.INCONCLUSIVE, 4)]
)
@pytest.mark.usefixtures("whole_bundle")
def test_the_exit_code_is_the_verdict(
    lab: Lab, run_cli: Run, files: list[str], verdict: Verdict, code: int
) -> None:
    lab.study = done_study(verdict)
    result = run_cli("study", "run", *files)
    assert result.exit_code == code
    assert f"SLA on Google Tensor G2: {verdict.value.upper()}" in result.stdout
    assert "bundle in out/model, signed by sha256:signer" in result.stderr


@pytest.mark.parametrize("state", [StudyState.FAILED, StudyState.CANCELLED])
def test_watching_a_study_that_did_not_finish_is_an_error(
    lab: Lab, run_cli: Run, state: StudyState
) -> None:
    lab.study = replace(done_study(Verdict.PASS), state=state, error="no device", choices=())
    result = run_cli("study", "watch", "study-1")
    assert result.exit_code == 1
    assert "error: no device" in result.stdout
    assert result.stderr == f"distillfarm: study-1 ({state.value}): no device\n"


@pytest.mark.usefixtures("whole_bundle")
def test_options_become_the_study(lab: Lab, run_cli: Run, files: list[str]) -> None:
    lab.study = done_study(Verdict.PASS)
    options = "--trials 3 --time-limit 10m --seed 7 --name digits --devices platform=host"
    assert run_cli("study", "run", *files, *options.split()).exit_code == 0
    spec = lab.specs[0]
    assert spec.targets == (ONNX, LITERT)
    assert (spec.budget.trials_per_target, spec.budget.wall_s) == (3, 600)
    assert (spec.name, spec.seed, spec.selector) == ("digits", 7, "platform=host")
    assert spec.model.factory_function == "build"
    assert spec.model.artifact.name == "model.pt"
    assert [each.metric for each in spec.sla.bounds] == [Metric.ACCURACY_DROP, Metric.WARM_P90]


@pytest.mark.usefixtures("whole_bundle")
def test_recipes_and_a_student_become_part_of_the_study(
    lab: Lab, run_cli: Run, files: list[str]
) -> None:
    lab.study = done_study(Verdict.PASS)
    recipes = ("prune(ratio=0.2)*3+int8_static", "distill(student=factory)")
    asked = [word for each in (*recipes, recipes[0]) for word in ("--recipe", each)]
    assert run_cli("study", "run", *files, *asked, "--student", "net.py:build").exit_code == 0
    spec = lab.specs[0]
    assert list(map(str, spec.recipes)) == [
        "prune(ratio=0.2)+prune(ratio=0.2)+prune(ratio=0.2)+int8_static",
        "distill(student=factory)",
    ]
    assert (spec.model.student_digest, spec.model.student_function) == (DIGEST, "build")


@pytest.mark.usefixtures("whole_bundle")
def test_objective_budgets_and_phones_become_part_of_the_study(
    lab: Lab, run_cli: Run, files: list[str]
) -> None:
    lab.study = done_study(Verdict.PASS)
    options = "--objective peak_memory --phones 3 --launches 40 --device-time 5m"
    assert run_cli("study", "run", *files, *options.split()).exit_code == 0
    (spec,) = lab.specs
    assert (spec.objective, spec.phones) == (Metric.PEAK_MEMORY, 3)
    assert (spec.budget.launches, spec.budget.device_s) == (40, 300.0)
    run_cli("study", "run", *files)
    assert lab.specs[1].budget == Budget()


def test_show_tells_which_phones_judged_the_knee_and_what_the_search_spent(
    lab: Lab, run_cli: Run
) -> None:
    study = done_study(Verdict.PASS)
    (choice,) = study.choices
    phones = tuple(PhoneVerdict(each, choice.verdict, 9) for each in ("phone-1", "phone-2"))
    spent = Spent(12, 3, 20, 2, 41, 108, 95.0, 4.0, 32)
    told = replace(choice, phones=phones, knee_trial_id=choice.trial_id, spent=spent)
    lab.study = replace(study, choices=(told,))
    shown = " ".join(run_cli("study", "show", "study-1").stdout.split())
    assert "phone-1 pass 9" in shown
    assert "phone-2 pass 9" in shown
    assert "made 41 launches to find the best of 12 candidates" in shown
    assert "measuring each three times takes 108 (38%)." in shown
    assert "3 were skipped without a launch and 2 measurements had been made before." in shown
    assert "32 fresh launches more judged the best" in shown
    assert "knee" in shown.split("Compatibility matrix", maxsplit=1)[0]


def test_logs_are_printed_of_all_or_of_one_recipe(lab: Lab, run_cli: Run) -> None:
    lab.study = done_study(Verdict.PASS)
    every = run_cli("study", "log", "study-1")
    assert every.exit_code == 0
    assert "prune(ratio=0.9) on onnxruntime/cpu/cpu: prune" in every.stdout
    assert "not a tar" in every.stdout
    assert run_cli("study", "log", "study-1", "--recipe", "prune(ratio=0.9)").stdout == every.stdout
    none = run_cli("study", "log", "study-1", "--recipe", "fp16")
    assert none.exit_code == 1
    assert "study-1 has no logs of fp16; it tried fp16, int8_static, original" in none.stderr


@pytest.mark.usefixtures("whole_bundle")
def test_the_same_command_names_the_same_study_unless_told_again(
    lab: Lab, run_cli: Run, files: list[str]
) -> None:
    lab.study = done_study(Verdict.PASS)
    for number, more in enumerate(((), (), ("--seed", "1"), ("--again",), ("--again",))):
        run_cli("study", "run", *files, *more, "--out", f"out{number}")
    first, second, other, *again = lab.keys
    assert first == second
    assert len({first, other, *again}) == 4


def test_tables_mark_the_chosen_and_tell_why_there_is_no_energy(lab: Lab, run_cli: Run) -> None:
    lab.study = done_study(Verdict.PASS)
    result = run_cli("study", "show", "study-1")
    assert result.exit_code == 0
    chosen = next(line for line in result.stdout.splitlines() if line.startswith("chosen"))
    assert "int8_static" in chosen
    assert "88.0" in chosen
    assert "0.200" in chosen
    assert "[87.0, 89.0]" in result.stdout
    assert "on onnxruntime/cpu/cpu" in result.stdout
    assert "energy not measured: no meter here" in result.stdout
    assert "3 variants measured" in result.stdout
    assert "1 refused" in result.stdout
    assert "Compatibility matrix" in result.stdout


def test_show_says_who_pays_and_what_each_pass_did(lab: Lab, run_cli: Run) -> None:
    lab.study = done_study(Verdict.PASS)
    shown = run_cli("study", "show", "study-1").stdout
    assert "accuracy %" in shown
    assert "- worst of 2 classes: 7, 12.0 [10.0, 14.0] points lost" in shown
    assert "- worst of 1 shift: noise" in shown
    (line,) = (each for each in shown.splitlines() if each.startswith("qat "))
    assert line.split() == ["qat", "1", "KB", "800", "B", "0", "0", "▁█"]
    assert "qat: left layer <7> alone" in shown


def test_show_as_json_decodes_to_domain_types(lab: Lab, run_cli: Run) -> None:
    lab.study = done_study(Verdict.FAIL)
    shown = msgspec.json.decode(run_cli("study", "show", "study-1", "--json").stdout, type=Finished)
    assert shown.study == lab.study
    assert len(shown.trials) == 4


def test_progress_in_a_pipe_is_plain_lines_with_what_is_left(lab: Lab, run_cli: Run) -> None:
    lab.study = done_study(Verdict.PASS)
    lab.events = [
        StudyEvent("study-1", 1, 0.0, "compress", "distill\x1b[2J", 1, 4, 65.0),
        StudyEvent("study-1", 2, 0.0, "measure", "launch 1 of 3", 2, 4, 20.0),
    ]
    lines = run_cli("study", "watch", "study-1").stderr.splitlines()
    assert lines == [
        "[1/4] compress: distill [2J (1 min 05 s left)",
        "[2/4] measure: launch 1 of 3 (20 s left)",
    ]


def test_ctrl_c_says_how_to_go_on(
    lab: Lab, run_cli: Run, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(client: object, study_id: str, show: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study_run, "follow", interrupted)
    lab.study = done_study(Verdict.PASS)
    result = run_cli("study", "run", *files)
    assert result.exit_code == 130
    assert "distillfarm study watch study-1" in result.stderr
    assert "distillfarm study cancel study-1" in result.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("--sla", "warm_p90<=10"), "needs a unit"),
        (("--target", "abacus"), "abacus"),
        (("--factory", "net.py"), "write file.py:function"),
        (("--student", "net.py"), "student 'net.py': write file.py:function"),
        (("--recipe", "prune(0.5)"), "recipe: '0.5' in prune is no setting; write key=value"),
        (("--recipe", "prune*99"), "recipe: prune 99 times; write *1 to *20"),
        (("--factory", "gone.py:build"), "no such file"),
        (("--data", "gone.npz"), "no such file"),
        (("--model", "data.npz"), "tells no format"),
        (("--time-limit", "soon"), "30m"),
        (("--out", "."), "something else lies there"),
    ],
)
def test_mistakes_are_found_before_anything_is_sent(
    lab: Lab, run_cli: Run, files: list[str], changed: tuple[str, ...], message: str
) -> None:
    result = run_cli("study", "run", *files, *changed)
    assert result.exit_code == 1
    assert message in result.stderr
    assert lab.specs == []


def test_a_state_dict_needs_its_factory(lab: Lab, run_cli: Run, files: list[str]) -> None:
    result = run_cli("study", "run", *files[:2], *files[4:])
    assert "needs --factory" in result.stderr


def test_a_bundle_that_is_none_is_refused_and_leaves_nothing(
    lab: Lab, run_cli: Run, tmp_path: Path
) -> None:
    lab.study = done_study(Verdict.PASS)
    result = run_cli("study", "watch", "study-1", "--out", "out/bundle")
    assert result.exit_code == 1
    assert result.stderr.startswith("distillfarm: ")
    assert list((tmp_path / "out").iterdir()) == []


def test_list_and_cancel(lab: Lab, run_cli: Run) -> None:
    assert "no studies yet" in run_cli("study", "list").stdout
    lab.study = done_study(Verdict.PASS)
    assert "Google Tensor G2: pass" in run_cli("study", "list").stdout
    assert "study-1 is cancelled" in run_cli("study", "cancel", "study-1").stdout


def test_a_final_measurement_replaces_that_of_the_search() -> None:
    search = trial(1, "fp16")
    final = trial(9, "fp16", final=True)
    other = trial(3, "int8_static")
    assert best_trials([search, final, other]) == [other, final]
    assert best_trials([final, search, other]) == [other, final]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("net.ONNX", ModelFormat.ONNX),
        ("net.pte", ModelFormat.EXECUTORCH),
        ("net.v2.mlpackage.tar", ModelFormat.COREML),
        ("net.aimodel.tar", ModelFormat.COREAI),
    ],
)
def test_a_files_name_tells_its_format(tmp_path: Path, name: str, found: ModelFormat) -> None:
    (tmp_path / name).write_bytes(b"content")
    assert format_of(tmp_path / name) is found


def test_a_tar_of_anything_tells_none(tmp_path: Path) -> None:
    (tmp_path / "net.tar").write_bytes(b"content")
    with pytest.raises(InvalidRequest, match="tells no format"):
        format_of(tmp_path / "net.tar")


def test_folders_are_models_too(tmp_path: Path) -> None:
    assert format_of(tmp_path) is ModelFormat.SAVED_MODEL
    (tmp_path / "model.onnx").write_bytes(b"graph")
    assert format_of(tmp_path) is ModelFormat.ONNX
    with pytest.raises(InvalidRequest, match="no such file"):
        format_of(tmp_path / "gone.onnx")
