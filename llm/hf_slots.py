"""Slots (slots.py) of several prompts in one forward pass of a local model.

1. What all prompts begin with (instructions, examples, often the label) is run once, and its keys and values
   are shared by all rows; where a model's cache can't be shared, the rows are run whole.
2. The rest is padded on the right: no token sees what comes after it, so padding changes nothing.
3. Just before the output layer, only the positions are kept from which a slot is predicted: the logits are of
   (slots, vocabulary) and not of (rows, tokens, vocabulary).
4. At each slot, the log probability of a level is the logarithm of the sum over its tokens of the softmax, in
   float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exegete.llm.slots import Odds, rounded

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

MOST_LOGITS = 1 << 27
"""Logits of a batch at most: half a gigabyte in float32."""
_LEAST_SHARED = 32
"""Tokens; less is not worth a pass of its own."""


@dataclass(frozen=True, slots=True)
class SlotPrompt:
    """A prompt and what is asked of it."""

    ids: list[int]
    at: tuple[int, ...]
    """Positions of the slots' tokens, each above 0."""
    levels: tuple[tuple[int, ...], ...]
    """For every level, the tokens that stand for it, at least one; the same for all prompts of a batch."""


def slot_odds(model: Any, prompts: Sequence[SlotPrompt], pad: int) -> list[tuple[Odds, ...]]:
    """Log probabilities of the levels at all slots of some prompts.

    Args:
        model: a causal language model, in eval mode.
        prompts: at least one; all with the same levels.
        pad: any token.

    Returns:
        For every prompt, for every slot, one log probability a level.

    Raises:
        torch.OutOfMemoryError: the device can't hold the batch.
    """
    import torch

    with torch.inference_mode():
        logits_SV = _logits(model, prompts, pad)
        logits_SV = logits_SV.float()
        total_S1 = logits_SV.logsumexp(-1, keepdim=True)
        columns = [(logits_SV[:, list(tokens)] - total_S1).logsumexp(-1) for tokens in prompts[0].levels]
        rows = torch.stack(columns, -1).tolist()
    told = iter(tuple(rounded(logprob) for logprob in row) for row in rows)
    return [tuple(next(told) for _ in prompt.at) for prompt in prompts]


def _logits(model: Any, prompts: Sequence[SlotPrompt], pad: int) -> torch.Tensor:
    """(slots of all prompts, vocabulary), prompt after prompt."""
    import torch

    n_shared = _shared(prompts) if len(prompts) > 1 and _can_share(model) else 0
    width = max(len(prompt.ids) for prompt in prompts) - n_shared
    ids_BT = torch.full((len(prompts), width), pad)
    mask_BT = torch.zeros((len(prompts), n_shared + width), dtype=torch.long)
    mask_BT[:, :n_shared] = 1
    for row, prompt in enumerate(prompts):
        rest = prompt.ids[n_shared:]
        ids_BT[row, : len(rest)] = torch.tensor(rest)
        mask_BT[row, n_shared : len(prompt.ids)] = 1
    # The token before a slot predicts what stands there.
    rows = [row for row, prompt in enumerate(prompts) for _ in prompt.at]
    columns = [place - 1 - n_shared for prompt in prompts for place in prompt.at]
    device = model.device
    more: dict[str, Any] = {"use_cache": False}
    if n_shared:
        more = {"past_key_values": _cache(model, prompts[0].ids[:n_shared], len(prompts)), "use_cache": True}
    with _only(model, torch.tensor(rows, device=device), torch.tensor(columns, device=device)):
        out = model(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), **more)
    logits_1SV: torch.Tensor = out.logits
    return logits_1SV[0]


def _shared(prompts: Sequence[SlotPrompt]) -> int:
    """How many tokens all prompts begin with; short of the first slot's prediction, 0 if they are few."""
    most = min(prompt.at[0] - 1 for prompt in prompts)
    first, *others = (prompt.ids for prompt in prompts)
    n = next((i for i in range(most) if any(other[i] != first[i] for other in others)), most)
    return n if n >= _LEAST_SHARED else 0


def _can_share(model: Any) -> bool:
    """Does every layer attend to everything before it, by keys and values that are kept whole?"""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    windowed = window is not None and getattr(config, "use_sliding_window", True)
    # Such angles depend on how long the input is, and what is shared is shorter.
    stretched = (getattr(config, "rope_parameters", None) or {}).get("rope_type") in ("dynamic", "longrope")
    return kinds == {"full_attention"} and not windowed and not stretched


def _cache(model: Any, ids: list[int], n_rows: int) -> Any:
    """Keys and values of what all rows begin with, for each of them."""
    import torch

    zero = torch.zeros(1, dtype=torch.long, device=model.device)
    with _only(model, zero, zero):
        out = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True)
    cache = out.past_key_values
    cache.batch_repeat_interleave(n_rows)
    return cache


@contextmanager
def _only(model: Any, rows_S: torch.Tensor, columns_S: torch.Tensor) -> Iterator[None]:
    """Let the output layer see some positions only: what comes out has the shape (1, positions, …)."""

    def keep(_: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden_BTH = args[0]
        return (hidden_BTH[rows_S, columns_S][None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()
