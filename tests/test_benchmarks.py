"""The benchmarks: no part has become much slower beside the others (on ratios with loose bounds), and long measurements can be cut off."""

import subprocess
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path

import pytest

QUICK = Path(__file__).parents[1] / "benchmarks" / "quick.py"


@pytest.fixture
def cells(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(QUICK.parent)
    import cells

    return cells


def test_a_run_that_is_cut_off_has_seen_photos_and_sentences_alike(cells):
    every = list(cells.order_of_cells(Namespace(photos=4, sentences=3, seeds=2)))
    assert len({cell.name for cell in every}) == len(every) == 24
    for count in (4, 12):
        first = every[:count]
        assert {cell.photo for cell in first} == set(range(4)) and len({cell.sentence for cell in first}) == 3
    assert {cell.seed for cell in islice(every, 12)} == {0}


def test_results_go_on_where_they_ended_and_those_of_other_settings_are_refused(cells, tmp_path):
    path = tmp_path / "results.json"
    results = cells.read_results(path, {"size": 128})
    results["cells"]["one"] = {"score": -1.5}
    cells.save(path, results)
    assert cells.read_results(path, {"size": 128})["cells"] == {"one": {"score": -1.5}}
    with pytest.raises(SystemExit, match="name another file"):
        cells.read_results(path, {"size": 160})
    cells.save(path, {"cells": {}, "settings": {"size": 128, "fusion": "a"}})
    wanted = {"size": 128, "fusion": "b"}
    assert cells.read_results(path, wanted, anew=("fusion",))["settings"] == wanted
    with pytest.raises(SystemExit, match="name another file"):
        cells.read_results(path, wanted)


def test_the_table_counts_the_end_of_a_training_and_only_cells_that_reach_the_score(cells, monkeypatch):
    monkeypatch.syspath_prepend(QUICK.parents[1] / "recipes")
    train_speed = pytest.importorskip("train_speed")

    def look(score, **more):
        return {"score": score, "content": 50.0, "ssim": 0.5, "optimised": 0.1, **more}

    def cell(scores, end, theirs):
        curve = [look(score, step=step, seconds=float(step)) for step, score in enumerate(scores)]
        ours = {"curve": curve, "steps": 4, "seconds": 4.0, "strengths": [look(end, strength=1)], "further photo": 1.0}
        baseline = {"curve": [look(theirs, step=200, seconds=20.0)], "steps": 200, "seconds": 20.0}
        return {"photo": look(-4.0), "ours": ours, "baseline": baseline}

    # The first reaches the baseline's score on its way, the second at its end only, the third never.
    some = {"1": cell([-3, -2], -1, -2.5), "2": cell([-3, -2.8], -2.4, -2.5), "3": cell([-3, -3], -3, -2.5)}
    memory = dict.fromkeys(("ours", "baseline"), {"loaded": 1, "peak": 1})
    rows = {line[:45].strip(): line[45:].split() for line in train_speed.table({"cells": some, "memory": memory}).splitlines()}
    assert rows["iterations to the baseline's final score"][0] == "4"
    assert rows["where the baseline's is reached: style score"][0] == "-2.2"
    assert rows["style score, end of training"][0] == "-2.4"


@pytest.mark.slow
def test_quick_benchmarks():
    done = subprocess.run([sys.executable, QUICK], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
