"""A local model's weights: loading them, and continuing several prompts at once.

Prompts are padded on the left to one length and continued together until each has ended by itself, is cut
at its own limit, or nobody waits for it any more. A row is greedy unless it has a temperature; then the token
is the argmax of logits / temperature + Gumbel noise, an exact sample of the softmax [Gumbel 1954], with noise
drawn from the row's own seed. What else a model's generation_config.json asks for (top_p, a repetition
penalty, …) is not used.

A row does not depend on its neighbours but for rounding: the shape of a batch decides in which order numbers
are added, and where the two best tokens are as good as equal, another one can win. In float32 that is rare,
in bfloat16 it is not; with batches of one it can't happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exegete.errors import UsageError
from exegete.llm.hf_slots import SlotPrompt, slot_odds
from exegete.llm.hf_text import TAIL
from exegete.llm.slots import Odds

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt and how it is to be continued."""

    ids: list[int]
    room: int
    """Tokens to continue it by, at most; at least 1."""
    temperature: float | None
    """None or 0: greedy."""
    seed: int


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model made of a prompt."""

    ids: list[int]
    """New tokens, the one that ends it included."""
    ended: bool
    """The model ended it; else it was cut."""


class Weights:
    """A causal language model, in memory."""

    def __init__(self, folder: Path, tokenizer: Any, over: Callable[[Sequence[int]], bool] | None) -> None:
        """Load a model: on a CUDA device if there is one (in bfloat16 if it has that), else in float32.

        Args:
            folder: with config.json and safetensors.
            tokenizer: its tokenizer.
            over: says of a continuation so far whether it has ended by what its last tokens say; None where
                only end tokens end it.

        Raises:
            UsageError: it can't be loaded, or some of its weights are missing.
        """
        self._over = over
        self._model = _load(folder)
        self.where = f"{self._model.dtype}".removeprefix("torch.") + f" on {self._model.device.type}"
        """Number format and device, which replies depend on by rounding."""
        config = self._model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        self.limit: int | None = int(limit) if limit else None
        """Tokens of a prompt and its continuation; None: no limit is known."""
        self.vocabulary = int(config.vocab_size)
        self._ends = _ends(self._model, tokenizer)
        pad = tokenizer.pad_token_id
        self._pad = pad if pad is not None else min(self._ends, default=0)
        self._plain_defaults()

    def continued(
        self, prompts: Sequence[Prompt], given_up: Callable[[int], bool] = lambda _: False
    ) -> list[Continuation]:
        """Continue prompts as one batch.

        Args:
            prompts: at least one, none empty.
            given_up: asked of positions after every token: is nobody waiting for that one any more? What it
                has become by then is returned.

        Raises:
            torch.OutOfMemoryError: the device can't hold the batch.
        """
        import torch

        longest = max(len(prompt.ids) for prompt in prompts)
        ids_BT = torch.full((len(prompts), longest), self._pad)
        mask_BT = torch.zeros_like(ids_BT)
        for row, prompt in enumerate(prompts):
            ids_BT[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask_BT[row, longest - len(prompt.ids) :] = 1
        stop = _Stop(prompts, longest, self._over, given_up)
        device = self._model.device
        with torch.inference_mode():
            out_BT = self._model.generate(
                input_ids=ids_BT.to(device),
                attention_mask=mask_BT.to(device),
                max_new_tokens=max(prompt.room for prompt in prompts),
                do_sample=False,
                logits_processor=[_Noise(prompts, device)],
                stopping_criteria=[stop],
            )
        rows = out_BT[:, longest:].tolist()
        return [self._cut(new, stop.length.get(row)) for row, new in enumerate(rows)]

    def slot_odds(self, prompts: Sequence[SlotPrompt]) -> list[tuple[Odds, ...]]:
        """Log probabilities of levels at the slots of prompts, as one batch (hf_slots.py).

        Raises:
            torch.OutOfMemoryError: the device can't hold the batch.
        """
        return slot_odds(self._model, prompts, self._pad)

    def free(self) -> None:
        """Give its memory back."""
        import gc

        import torch

        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _cut(self, new: list[int], length: int | None) -> Continuation:
        """A row without what was put behind its end."""
        new = new[:length]
        end = next((at for at, token in enumerate(new) if token in self._ends), None)
        if end is not None:
            return Continuation(new[: end + 1], True)
        return Continuation(new, self._over is not None and self._over(new))

    def _plain_defaults(self) -> None:
        """Greedy decoding without penalties, whatever the model brought along."""
        from transformers import GenerationConfig

        self._model.generation_config = GenerationConfig(
            eos_token_id=sorted(self._ends) or None, pad_token_id=self._pad
        )


class _Stop:
    """Which rows are done for another reason than an end token, and at what length."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        start: int,
        over: Callable[[Sequence[int]], bool] | None,
        given_up: Callable[[int], bool],
    ) -> None:
        self.length: dict[int, int] = {}
        """New tokens of rows that are done."""
        self._prompts, self._start, self._over, self._given_up = prompts, start, over, given_up

    def __call__(self, ids_BT: torch.Tensor, scores: Any) -> torch.Tensor:
        """One bool a row."""
        import torch

        new = ids_BT.shape[1] - self._start
        tails = ids_BT[:, self._start :][:, -TAIL:].tolist() if self._over else []
        for row, prompt in enumerate(self._prompts):
            if row in self.length:
                continue
            over = self._over is not None and self._over(tails[row])
            if over or new >= prompt.room or self._given_up(row):
                self.length[row] = new
        done = [row in self.length for row in range(len(self._prompts))]
        return torch.tensor(done, device=ids_BT.device)


class _Noise:
    """Makes an argmax a sample, in rows that have a temperature."""

    def __init__(self, prompts: Sequence[Prompt], device: Any) -> None:
        import torch

        self._sampled: dict[int, tuple[float, torch.Generator]] = {
            row: (prompt.temperature, torch.Generator(device).manual_seed(prompt.seed))
            for row, prompt in enumerate(prompts)
            if prompt.temperature
        }

    def __call__(self, ids_BT: torch.Tensor, logits_BV: torch.Tensor) -> torch.Tensor:
        """The logits with noise."""
        import torch

        for row, (temperature, generator) in self._sampled.items():
            exponential_V = torch.empty_like(logits_BV[row], dtype=torch.float32)
            exponential_V.exponential_(generator=generator).clamp_min_(torch.finfo(torch.float32).tiny)
            logits_BV[row] = logits_BV[row] / temperature - exponential_V.log()  # -log of it is Gumbel's
        return logits_BV


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a reply: those of the model's own settings, and the tokenizer's."""
    own = model.generation_config.eos_token_id
    ends = [own] if isinstance(own, int) else list(own or [])
    return frozenset([*ends, tokenizer.eos_token_id]) - {None}


def _load(folder: Path) -> Any:
    """Read a model and put it where it will run."""
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    half = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            str(folder),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            dtype=torch.bfloat16 if half else torch.float32,
            output_loading_info=True,
        )
        model = model.to("cuda" if cuda else "cpu").eval()
    except Exception as error:  # what it raises depends on which byte of which file is wrong
        raise UsageError(f"the model in {folder} can't be loaded ({first_line(error)}): {_WANTED}") from error
    # transformers fills in what is missing at random.
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise UsageError(f"the weights in {folder} lack {missing[0]}{more}: {_WANTED}")
    return model


_WANTED = "it has to be a whole causal language model of an architecture that transformers knows"


def quieten() -> None:
    """No progress bars and no advice from transformers: what is wrong is raised."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def first_line(error: Exception) -> str:
    """An exception in one line."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
