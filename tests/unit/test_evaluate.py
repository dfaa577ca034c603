"""The evaluation as a whole, on one tiny sample."""

import csv

import numpy as np
import pytest
from PIL import Image

import evaluate
from evaluation_metrics import COLUMNS
from evaluation_sets import samples
from pictures import to_numpy

SAMPLE = "margin/coffee on grass 0"


def run(folder, *more):
    options = [
        "--methods",
        "paste",
        "poisson",
        "--sets",
        SAMPLE,
        "--long-side",
        "64",
        "--workers",
        "1",
        "--no-masks",
        *more,
    ]
    assert evaluate.main([*options, "--output", str(folder)]) == 0
    with (folder / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_sample_and_two_methods(tmp_path):
    rows = run(tmp_path)
    assert list(rows[0]) == ["set", "sample", "method", *COLUMNS]
    assert [row["method"] for row in rows] == ["paste", "poisson", "truth"]
    assert {(row["set"], row["sample"]) for row in rows} == {("margin", "coffee on grass 0")}
    # Copy-paste is known in closed form.
    (sample,) = samples([SAMPLE], 64)
    source, target, truth, mask = map(to_numpy, (sample.object_, sample.target, sample.truth, sample.mask))
    error = 255 * (np.round(255 * np.where(mask > 0, source, target)) - np.round(255 * truth)) / 255
    assert float(rows[0]["truth_mse"]) == pytest.approx(np.mean(error**2), rel=1e-4)
    assert float(rows[1]["truth_psnr"]) > float(rows[0]["truth_psnr"])
    assert float(rows[1]["seam_gradient"]) < float(rows[0]["seam_gradient"])
    assert all(float(row["cpu_s"]) >= 0 and float(row["wall_s"]) > 0 for row in rows[:2])

    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for name in ("margin.png", "quality.png", "cost.png"):
        assert f"![{name}]({name})" in text
        assert np.ptp(np.asarray(Image.open(tmp_path / name).convert("L"))) > 200
    assert f"{float(rows[1]['truth_psnr']):.2f}" in text


def test_all_but_the_times_is_the_same_again(tmp_path):
    def without_times(rows):
        return [{name: value for name, value in row.items() if name not in ("cpu_s", "wall_s")} for row in rows]

    assert without_times(run(tmp_path / "first")) == without_times(run(tmp_path / "second"))
    assert (tmp_path / "first" / "margin.png").read_bytes() == (tmp_path / "second" / "margin.png").read_bytes()


def test_without_any_picture_there_is_no_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "samples", lambda patterns, long_side: [])
    assert evaluate.main(["--methods", "paste", "--sets", "paintings", "--output", str(tmp_path / "output")]) == 2
    assert "no pictures" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "paste", "--sets", "margn"], "--sets: margn means no sample"),
        (["--methods", "posson"], "--methods: posson means no method"),
        (["--long-side", "20"], "--long-side is at least 64"),
        (["--model", "nowhere.pth"], "nowhere.pth"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(tmp_path, capsys, options, message):
    assert evaluate.main([*options, "--output", str(tmp_path / "output")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "output").exists()
