import cv2
import numpy as np
import pytest

import evaluation_sets
from evaluation_methods import METHODS, chosen_methods
from evaluation_sets import samples
from ground_truth import margin_family
from pictures import to_numpy


def test_a_set_and_a_sample_are_chosen_by_name_and_wildcard():
    assert len(samples(["margin"], 64)) == 12
    names = [(sample.set_name, sample.name) for sample in samples(["recoloured/cat*", "margin/*brick 0"], 64)]
    assert names == [("margin", "cloth on brick 0"), *(("recoloured", f"cat {index}") for index in range(3))]


def test_unknown_names_are_refused_in_one_sentence():
    with pytest.raises(
        ValueError, match=r"--sets: nonsense means no sample; outline, margin, recoloured, .* are accepted"
    ):
        samples(["margin", "nonsense"], 64)
    with pytest.raises(ValueError, match=r"--methods: posson means no method; paste, .* are accepted"):
        chosen_methods(["paste", "posson"])


def test_without_the_real_pictures_their_sets_are_empty(monkeypatch):
    monkeypatch.setattr(evaluation_sets, "REAL", [])
    monkeypatch.setattr(evaluation_sets, "REAL_SETS", {"paintings": [], "photographs": []})
    assert len(samples(["paintings", "photographs", "margin/*brick 0"], 64)) == 1


def test_pictures_are_reduced_by_area_and_never_enlarged():
    first = margin_family()[0]
    (reduced,) = samples([f"margin/{first.name}"], 80)
    assert reduced.target.shape == (1, 3, 80, 80)
    assert np.allclose(
        to_numpy(reduced.truth), cv2.resize(first.truth, (80, 80), interpolation=cv2.INTER_AREA), atol=1e-6
    )
    share = first.mask.reshape(80, 4, 80, 4).mean((1, 3))
    assert np.array_equal(reduced.mask[0, 0].numpy(), share >= 0.5)
    (kept,) = samples([f"margin/{first.name}"], 1000)
    assert np.allclose(to_numpy(kept.object_), first.source, atol=1e-6)
    assert kept.target.shape == (1, 3, 320, 320)


def test_methods_come_in_their_own_order():
    assert chosen_methods(["poisson*", "paste"]) == ["paste", "poisson", "poisson_mixed", "poisson_screened"]
    assert chosen_methods(["*"]) == list(METHODS)
