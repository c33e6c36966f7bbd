"""What is written of the results."""

import json

import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.goals import GOALS
from benchmarks.plots import draw

MACHINE = {"date": "2000-01-01", "python": "3", "system": "x", "cpus": 2, "slots": 2, "repetitions": 2, "minutes": 1.0}


def rates(*values: float, count: int = 100) -> list[dict]:
    return [{"value": value, "count": count, "cpu_us": {"client": 1.0}} for value in values]


@pytest.fixture
def results() -> dict:
    return {
        "machine": MACHINE,
        "systems": {
            "scaler": {"version": "1", "measures": {"submit": rates(300, 100, 200)}},
            "pool": {
                "version": "Python 3",
                "measures": {"submit": rates(100, count=7), "graph": [{"missing": "no graphs"}]},
            },
            "ray": {"missing": "cannot be installed: no network"},
        },
        "growth": {"workers": {"1": [1.0], "10": [4.0]}},
        "makespan": {"one": {"makespan": 11.0, "bound": 10.0, "one queue": 10.5}},
    }


def test_tables_say_medians_spread_and_what_is_missing(results):
    text = report.text(results, [])
    assert "| submit, tasks/s | 200 (100 to 300) | 100 | - |" in text
    assert "- multiprocessing.Pool, graph: no graphs." in text
    assert "- Ray is missing: cannot be installed: no network." in text
    assert "- submit: 100 tasks, 7 for multiprocessing.Pool." in text
    assert "| one | 11.00 | 10.00 | 10.50 | +10.0 % | +4.8 % |" in text


def test_goals_are_reached_missed_or_not_measured(results):
    verdicts = {goal.name: goal.verdict(results) for goal in GOALS}
    assert verdicts["submit, Scaler / multiprocessing.Pool"] == ("at least 1.5x", "2x", "reached")
    assert verdicts["cost a task, 10,000 workers / 1 worker"] == ("at most 1.5x", "4x", "**missed**")
    assert verdicts["submit, Scaler / Ray"][1:] == ("-", "not measured")


def test_the_prose_of_a_document_is_kept(results, tmp_path):
    document = tmp_path / "page.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    drawn = draw(results, tmp_path)
    report.write(document, results, drawn)
    report.write(document, results, drawn)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("submit, tasks/s |") == 1
    for name in drawn:
        assert f"({name})" in text
        assert 1_000 < (tmp_path / name).stat().st_size < 100_000


def test_a_document_without_marks_is_left_alone(results, tmp_path):
    document = tmp_path / "page.md"
    document.write_text("text")
    with pytest.raises(ValueError, match="has no marks"):
        report.write(document, results, [])
    assert document.read_text() == "text"


def test_results_can_be_read_again(tmp_path, capsys):
    kept = tmp_path / "results.json"
    main(["--only", "state", "--repetitions", "1", "--scale", "0.001", "--json", str(kept)])
    first = capsys.readouterr().out
    main(["--read", str(kept)])
    assert capsys.readouterr().out == first
    assert len(json.loads(kept.read_text())["state"]["placements/s"]) == 1


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--systems", "scaler,celery"])
    assert "unknown: celery; known: scaler, pool" in capsys.readouterr().err
