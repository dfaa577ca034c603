import math

import pytest

from evaluation_report import report, summary_table
from published_tables import TABLE_3, markdown, not_the_same, psnr_of_mse, table_2, table_3


def row(method, set_name="outline", sample="a", **values):
    return {"set": set_name, "sample": sample, "method": method, **values}


def test_summary_marks_the_best_of_each_column():
    rows = [
        row("paste", truth_psnr=20.0, truth_mse=50.0, seam_gradient=0.2, color_distance=0.0),
        row("paste", sample="b", truth_psnr=22.0, truth_mse=70.0, seam_gradient=0.4, color_distance=0.0),
        row("auto", truth_psnr=30.0, truth_mse=10.0, seam_gradient=0.05, color_distance=3.0),
        row("deep", truth_psnr=30.0, truth_mse=20.0, seam_gradient=-0.02, color_distance=4.0),
        row("truth", seam_gradient=0.1, color_distance=1.0),
    ]
    columns = [("truth_psnr", "psnr"), ("truth_mse", "mse"), *2 * [("seam_gradient",) * 2], ("color_distance",) * 2]
    assert summary_table(rows, columns)[1:] == [
        ["copy-paste", "21.00", "60.0", "0.3000", "0.3000", "0.0"],
        ["Auto Blend", "**30.00**", "**10.0**", "**0.0500**", "**0.0500**", "**3.0**"],
        ["deep", "**30.00**", "20.0", "-0.0200", "-0.0200", "4.0"],
        ["the truth itself", "", "", "0.1000", "0.1000", "1.0"],
    ]
    # Without a truth the least jump is the best.
    assert summary_table(rows[:4], columns[2:3])[3] == ["deep", "**-0.0200**"]


def test_copy_paste_does_not_compete_where_it_is_the_reference():
    rows = [row("paste", source_psnr=100.0), row("auto", source_psnr=20.0)]
    assert summary_table(rows, [("source_psnr", "psnr")])[1:] == [["copy-paste", "100.00"], ["Auto Blend", "**20.00**"]]


def test_table_2_has_the_papers_rows_and_ours_beside_them():
    ours = {("poisson", "psnr"): 21.5, ("poisson", "ssim"): 0.5, ("poisson", "mse"): 400.04, ("paste", "psnr"): 15.0}
    rows = table_2({"truth": lambda key, metric: ours.get((key, metric))})
    assert rows[0] == ["method in the paper", "paper: PSNR", "SSIM", "MSE", "our method", "truth: PSNR", "SSIM", "MSE"]
    by_name = {cells[0]: cells[1:] for cells in rows}
    assert by_name["Poisson Blending"] == ["21.77", "0.71", "472.46", "`poisson`", "21.50", "0.500", "400.0"]
    assert by_name["Copy and Paste"] == ["17.98", "0.57", "866.41", "`paste`", "15.00", "–", "–"]
    assert by_name["Ours"][:3] == ["23.59", "0.78", "617.51"]


def test_table_3_has_three_figures_in_each_cell():
    rows = table_3(
        {"truth": [lambda key, metric, value=value: value if metric == "psnr" else None for value in (1, 2, None)]}
    )
    assert rows[1] == [
        "Baseline",
        "17.85/18.32/17.99",
        "0.57/0.61/0.67",
        "718.20/661.94/594.32",
        "`deep`",
        "1.00/2.00/–",
        "–/–/–",
        "–/–/–",
    ]
    assert [cells[4] for cells in rows[1:]] == ["`deep`", "`deep_pan`", "`deep_saturation`", "`deep_pan_saturation`"]


def test_contradictions_of_the_printed_figures():
    assert psnr_of_mse(255**2) == 0
    assert psnr_of_mse(100) == pytest.approx(20 * math.log10(255 / 10))
    text = " ".join(not_the_same().split())
    assert "17.98 dB for Copy and Paste, whose MSE of 866.41 stands for 18.75 dB at least" in text
    off = sum(
        abs(p - 10 * math.log10(65025 / m)) > 1 for _, (ps, _, ms), _ in TABLE_3 for p, m in zip(ps, ms, strict=True)
    )
    assert f"{off} of 12 pairs" in text
    assert "29.57 dB stands beside an MSE of 612.95, which is 20.26 dB" in text


def test_markdown():
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_report_names_what_was_not_run_and_what_each_column_is():
    seam = {"seam_gradient": 0.1, "seam_saturation": 0.1, "color_distance": 0.0}
    made = row("paste", truth_psnr=20.0, truth_mask_psnr=21.0, target_psnr=22.0, source_psnr=23.0, **seam)
    real = row("paste", "paintings", target_psnr=24.0, source_psnr=25.0, **seam)
    text = report([made, real], ["a fact"], {"`deep_pan`": "no weights"}, "## Masks", ["outline.png"])
    assert "- `deep_pan`: no weights" in text
    assert "- a fact" in text
    assert "![outline.png](outline.png)" in text
    assert "PSNR, truth |" in text
    rest = " | – | – | "
    readings = rest.join(["20.00", "21.00", "24.00", "25.00"])
    assert f"| Copy and Paste | 17.98 | 0.57 | 866.41 | `paste` | {readings} | – | – |" in text
