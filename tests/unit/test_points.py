import pytest

from deepblend.segmentation.points import read_points


def test_points_in_pixels():
    assert read_points("positive_coords", '[{"x": 3, "y": 4.5}, {"x": 20, "y": 10}]', 20, 10) == [(3, 4.5), (20, 10)]


@pytest.mark.parametrize("text", [None, "", "  ", "[]"])
def test_no_points(text):
    assert read_points("positive_coords", text, 20, 10) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("3, 4", "negative_coords is not JSON"),
        ("[" * 100000, "negative_coords is not JSON"),
        ('{"x": 3, "y": 4}', "negative_coords holds a dict, not a list of points"),
        ("[[3, 4]]", r"negative_coords: '\[3, 4\]' is not a point"),
        ('[{"x": 3}]', "is not a point; points in pixels such as"),
        ('[{"x": true, "y": 1}]', "is not a point"),
        ('[{"x": NaN, "y": 1}]', "is not a point"),
        ('[{"x": "3", "y": 1}]', "is not a point"),
        ('[{"x": 1' + "0" * 400 + ', "y": 1}]', "is not a point"),
        ('[{"x": 21, "y": 1}]', "the point x=21 y=1 lies outside the picture of 20×10 pixels"),
        ('[{"x": 1, "y": -1}]', "the point x=1 y=-1 lies outside the picture"),
    ],
)
def test_other_texts_get_a_sentence(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_points("negative_coords", text, 20, 10)
