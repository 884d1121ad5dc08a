"""One step of the character model for export, and the steps of the run's own text on which its file is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from chainrule.core.task import COMPARED, Deployable
from chainrule.systems.language.lstm import State


class Step(nn.Module):
    """One step for export, batch first everywhere: character (B,), h and c (B, L, H) to logits (B, V), h and c."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, character: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        step: Callable[[Tensor, State], tuple[Tensor, State]] = self.model.step  # type: ignore[assignment]
        logits, (h, c) = step(character, (h.transpose(0, 1), c.transpose(0, 1)))  # (B, L, H) -> (L, B, H)
        return logits, h.transpose(0, 1), c.transpose(0, 1)


def deployable_step(
    model: nn.Module, vocabulary: Sequence[str], shape: tuple[int, int], text: Callable[[], Tensor]
) -> Deployable:
    """What `export` writes of a character model.

    Args:
        model: with `step`; it is brought to the CPU.
        vocabulary: the characters by their numbers.
        shape: (L, H) of a state.
        text: gives the numbers (N,) of characters of the run's own text; UserError where it is not here any more.
    """
    step = Step(model).cpu().eval()

    def inputs(count: int) -> tuple[Tensor, ...]:
        return torch.randint(0, len(vocabulary), (count,)), torch.randn(count, *shape), torch.randn(count, *shape)

    @torch.inference_mode()
    def own() -> tuple[Tensor, ...]:
        """The first characters of the text, each with the state that those before it leave."""
        met = [(torch.zeros(1, *shape), torch.zeros(1, *shape))]
        characters = text()[:COMPARED].long().cpu()
        for character in characters[:-1]:
            _, h, c = step(character[None], *met[-1])
            met.append((h, c))
        return characters, *(torch.cat(part) for part in zip(*met, strict=True))

    state = f"float32 (B, {shape[0]}, {shape[1]}), zeros before the first character"
    notes = {"character": "int64 (B,), number in the vocabulary", "h": state, "c": state, "vocabulary": vocabulary}
    return Deployable(step, inputs, ("character", "h", "c"), ("logits", "h_next", "c_next"), notes, own)
