import pytest
import torch

from deepblend.blending_core.checkerboard import BLACK, RED, Checkerboard

SIZES = [(1, 1), (1, 7), (6, 1), (2, 2), (5, 8), (8, 5), (4, 6), (7, 9)]


def numbered(height, width):
    """Every pixel with a number of its own; 0 is left for nothing."""
    return torch.arange(1.0, height * width + 1).view(1, height, width)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read_and_nothing_else_is_touched(size):
    board, image = Checkerboard(*size), numbered(*size)
    field = board.write(image, board.zeros(image, 1))
    assert torch.equal(board.read(field), image)
    assert torch.equal(field[field > 0].sort().values, image.flatten())


@pytest.mark.parametrize("size", SIZES)
def test_neighbours_are_constant_shifts_away_and_beyond_the_picture_is_nothing(size):
    board, image = Checkerboard(*size), numbered(*size)
    field = board.write(image, board.zeros(image, 1))
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))[0]
    height, width = size
    right, below = padded[1:-1, 2:], padded[2:, 1:-1]
    left, above = padded[1:-1, :-2], padded[:-2, 1:-1]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for color in (RED, BLACK):
        ahead, behind = board.forward_shifts(color), board.forward_shifts(1 - color)
        for y, x in zip(*((v[(rows + columns) % 2 == color].tolist()) for v in (rows, columns)), strict=True):
            place = int((field[color, 0] == image[0, y, x]).nonzero())
            assert board.start <= place < board.stop
            found = [field[1 - color, 0, place + shift] for shift in (*ahead, -behind[0], -behind[1])]
            assert found == [right[y, x], below[y, x], left[y, x], above[y, x]]


@pytest.mark.parametrize("size", SIZES)
def test_rows_hold_one_pixel_of_each_cell(size):
    board, image = Checkerboard(*size), numbered(*size)
    field = board.write(image, board.zeros(image, 1))
    run = slice(board.start, board.stop)
    assert board.strips_of(run) == slice(0, board.strips)
    sums = sum(sum(board.rows(field[color][..., run], color)) for color in (RED, BLACK))
    padded = torch.nn.functional.pad(image, (0, size[1] % 2, 0, size[0] % 2))
    assert torch.equal(sums, torch.nn.functional.avg_pool2d(padded, 2) * 4)
