"""What one forward pass saves against one token at a time: `python -m benchmarks.logprob`, half a minute.

A small random Llama reads the levels of excerpts of 32 words, on one thread of the CPU, in float32:

    one pass          all slots of a batch of excerpts, what they begin with run once (hf_slots.py)
    a pass each       all slots of one excerpt, nothing shared
    a pass a slot     the tokens before each slot, and nothing else: the reference of the tests

Turns alternate; medians of three, in CPU seconds, which other processes hardly change. The largest
difference of any log probability is printed beside them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from exegete.llm.hf_slots import SlotPrompt, slot_odds
from exegete.llm.slots import Odds

WORDS, TOKENS_A_WORD = 32, 4
SHARED, OWN = 900, 60
"""Tokens of a prompt before its table: instructions, examples and label, and the excerpt in a line."""
VOCABULARY = 8_000
LEVELS = tuple((20 + level,) for level in range(10))


def model_of(width: int, layers: int) -> Any:
    """A Llama with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        intermediate_size=3 * width,
        max_position_embeddings=2048,
    )
    return LlamaForCausalLM(config).eval()


def prompts_of(n: int) -> list[SlotPrompt]:
    """Prompts of the shape that the logprob simulator makes."""
    rng = random.Random(0)
    begin = [rng.randrange(100, VOCABULARY) for _ in range(SHARED)]
    made = []
    for _ in range(n):
        rest = [rng.randrange(100, VOCABULARY) for _ in range(OWN + WORDS * TOKENS_A_WORD)]
        at = tuple(SHARED + OWN + TOKENS_A_WORD * word + 2 for word in range(WORDS))
        made.append(SlotPrompt(begin + rest, at, LEVELS))
    return made


def a_pass_a_slot(model: Any, prompts: Sequence[SlotPrompt]) -> list[tuple[Odds, ...]]:
    """Every slot by a pass of its own."""
    import torch

    rows = []
    for prompt in prompts:
        told: list[Odds] = []
        for at in prompt.at:
            with torch.inference_mode():
                logs = model(torch.tensor([prompt.ids[:at]]), logits_to_keep=1).logits[0, -1].log_softmax(-1)
            told.append(tuple(float(logs[token]) for (token,) in prompt.levels))
        rows.append(tuple(told))
    return rows


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds that something takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--excerpts", type=int, default=8)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    model, prompts = model_of(options.width, options.layers), prompts_of(options.excerpts)
    ways: dict[str, tuple[int, Callable[[], list[tuple[Odds, ...]]]]] = {
        "one pass": (len(prompts), lambda: slot_odds(model, prompts, 0)),
        "a pass each": (len(prompts), lambda: [slot_odds(model, [one], 0)[0] for one in prompts]),
        "a pass a slot": (1, lambda: a_pass_a_slot(model, prompts[:1])),
    }
    read = {name: work() for name, (_, work) in ways.items()}
    apart = max(
        abs((one or 0.0) - (other or 0.0))
        for name in ("one pass", "a pass each")
        for row, expected in zip(read[name][0], read["a pass a slot"][0], strict=True)
        for one, other in zip(row, expected, strict=True)
    )
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, (n, work) in ways.items():
            taken[name].append(seconds(work) / n)
    rates = {name: 1 / statistics.median(times) for name, times in taken.items()}
    for name, rate in rates.items():
        ratio = rate / rates["a pass a slot"]
        print(f"{name:14} {rate:8.2f} excerpts a CPU second   {ratio:6.1f} times a pass a slot")
    print(f"largest difference of a log probability: {apart:.1e}")


if __name__ == "__main__":
    main()
