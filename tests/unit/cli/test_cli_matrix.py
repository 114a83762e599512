import csv
import io

import msgspec
from cli_lab import Lab, Run

from distillfarm.domain.study import MatrixCell


def test_the_table_shows_what_did_not_run_and_why(lab: Lab, run_cli: Run) -> None:
    result = run_cli("matrix")
    assert result.exit_code == 0
    assert "Tensor G2" in result.stdout
    assert "crashed" in result.stdout
    assert "signal 11" in result.stdout


def test_the_table_names_the_system_build_that_a_row_speaks_of(lab: Lab, run_cli: Run) -> None:
    head, *rows = run_cli("matrix").stdout.splitlines()[1:]
    assert "system" in head
    assert all("build-1" in row for row in rows)


def test_csv_has_a_column_for_each_bound_and_no_formulas(lab: Lab, run_cli: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run_cli("matrix", "--format", "csv").stdout)))
    assert [row["label"] for row in rows] == ["ok", "crashed"]
    assert float(rows[0]["warm_p90_ms_low"]) < float(rows[0]["warm_p90_ms"])
    assert rows[0]["target"] == "onnxruntime/cpu/cpu"
    assert rows[1]["warm_p90_ms"] == ""
    assert rows[1]["recipe"] == "'=evil()"
    assert rows[0]["energy_gross_mj"] == ""


def test_json_decodes_to_domain_types(lab: Lab, run_cli: Run) -> None:
    cells = msgspec.json.decode(run_cli("matrix", "--format", "json").stdout, type=list[MatrixCell])
    assert len(cells) == 2


def test_filters_reach_the_controller(lab: Lab, run_cli: Run) -> None:
    result = run_cli("matrix", "--chipset", "Apple A17")
    assert "nothing measured yet" in result.stdout
