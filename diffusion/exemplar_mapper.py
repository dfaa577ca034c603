"""From what CLIP sees in a picture to the one token that Paint by Example paints from."""

import torch
from torch import Tensor, nn

EXPANSION = 4  # how much wider the hidden layer of a block is


class ExemplarMapper(nn.Module):
    """CLIP's pooled output after its last norm, `[B, width]`, to a token `[B, token_width]` for cross-attention.

    Source: Yang et al., "Paint by Example", 2022, section 3.2: the picture is known by one token only, so that it cannot be
    copied; a few transformer blocks carry it over into the space that the diffusion model reads.

    operations: where Linear and LayerNorm come from; ComfyUI's own move and cast their weights as it manages memory.
    """

    def __init__(self, width: int, token_width: int, depth: int, operations=nn, **factory):
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width, operations, factory) for _ in range(depth))
        self.norm = operations.LayerNorm(width, **factory)
        self.projection = operations.Linear(width, token_width, **factory)

    def forward(self, pooled: Tensor) -> Tensor:
        for block in self.blocks:
            pooled = block(pooled)
        return self.projection(self.norm(pooled))


class _Block(nn.Module):
    """A transformer block for a sequence of one token.

    Over one token the softmax of attention is 1 whatever queries and keys are: it gives the value back, and the weights of
    queries and keys are not needed.
    """

    def __init__(self, width, operations, factory):
        super().__init__()
        self.value_norm = operations.LayerNorm(width, **factory)
        self.value = operations.Linear(width, width, **factory)
        self.output = operations.Linear(width, width, **factory)
        self.hidden_norm = operations.LayerNorm(width, **factory)
        self.widen = operations.Linear(width, EXPANSION * width, **factory)
        self.narrow = operations.Linear(EXPANSION * width, width, **factory)

    def forward(self, token):
        token = token + self.output(self.value(self.value_norm(token)))
        return token + self.narrow(torch.nn.functional.gelu(self.widen(self.hidden_norm(token))))
