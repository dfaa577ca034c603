"""What stands in a dictionary of weights, for the sentences about those that do not fit."""

from torch import Tensor


def is_array(value: object) -> bool:
    """Whether it is a tensor of floating-point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def described(value: object) -> str:
    """Shape and type: "[64, 3, 3, 3] of float32"; "missing" for None."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return "missing" if value is None else f"a {type(value).__name__}"
