"""A causal language model: what its features do to its next-token predictions can be measured.

    HuggingFaceSubject   reads the trunk, and knows sites and tokens
    CausalSubject        the same weights with the language-model head on them: logits, edits, continuations

Its name is the reader's, so evidence harvested from the trunk is this model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exegete.errors import SubjectError
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.loading import Options, load, locate
from exegete.subjects.sites import Site

if TYPE_CHECKING:
    import torch

Ids = NDArray[np.int32]


class Edit(Protocol):
    """A change of what passes at some sites while the model runs (see `exegete.subjects.edits`)."""

    def attach(self, subject: CausalSubject, own_BT: torch.Tensor) -> Sequence[Any]:
        """Hook it in.

        Args:
            subject: the model that is about to run.
            own_BT: (contexts, positions) True at the texts' own tokens; no other may be edited.

        Returns:
            Handles that take the hooks away again.
        """


class CausalSubject:
    """A decoder-only transformers model with its head."""

    def __init__(self, reader: HuggingFaceSubject, model: Any) -> None:
        """Put a head on a subject.

        Args:
            reader: the model's trunk, as a subject.
            model: the whole model (`AutoModelForCausalLM`), in eval mode; `reader` wraps its trunk.

        Raises:
            SubjectError: it has no unembedding, or its last norm can't be told.
        """
        self.reader, self._model = reader, model
        self._head = model.get_output_embeddings()
        if self._head is None:
            raise SubjectError(f"{reader.name} has no unembedding: nothing can be said of what it predicts")
        self._last_norm = _last_norm(reader)

    @property
    def name(self) -> str:
        """The reader's name."""
        return self.reader.name

    @property
    def n_vocabulary(self) -> int:
        """Rows of the unembedding."""
        return int(self._head.weight.shape[0])

    def token_text(self, ids: Sequence[int]) -> list[str]:
        """What each token stands for, leading space kept."""
        return self.reader.token_text(ids)

    def logits(self, batch: Sequence[Ids], edits: Sequence[Edit] = ()) -> torch.Tensor:
        """Next-token logits at every own token.

        Args:
            batch: token ids of each context, without special tokens.
            edits: what is changed on the way.

        Returns:
            (n_contexts, longest, vocabulary), float32; rows beyond a context's length are undefined.

        Raises:
            SubjectError: a site of an edit is not in the model.
        """
        import torch

        ids, mask, first = self.reader.padded(batch)
        longest = max(len(own) for own in batch)
        own_BT = torch.zeros(ids.shape, dtype=torch.bool, device=ids.device)
        for row, own in enumerate(batch):
            own_BT[row, first : first + len(own)] = True
        with ExitStack() as stack, torch.inference_mode():
            for edit in edits:
                for handle in edit.attach(self, own_BT):
                    stack.callback(handle.remove)
            logits_BTV = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        found: torch.Tensor = logits_BTV[:, first : first + longest].float()
        return found

    def losses(self, batch: Sequence[Ids], edits: Sequence[Edit] = ()) -> list[NDArray[np.float32]]:
        """How badly each token is predicted from those before it.

        Args:
            batch: token ids of each context.
            edits: what is changed on the way.

        Returns:
            For each context (n_tokens - 1,) nats: -log p of its second token, its third, and so on.
        """
        import torch

        logits_BTV = self.logits(batch, edits)
        found = []
        for row, own in enumerate(batch):
            log_p_TV = torch.log_softmax(logits_BTV[row, : len(own) - 1], -1)
            target_T = torch.as_tensor(own[1:], dtype=torch.long, device=log_p_TV.device)
            loss_T = -log_p_TV.gather(1, target_T[:, None])[:, 0]
            found.append(loss_T.cpu().numpy())
        return found

    def continuations(
        self,
        batch: Sequence[Ids],
        n_tokens: int,
        edits: Sequence[Edit] = (),
        *,
        temperature: float,
        seed: int,
    ) -> list[Ids]:
        """Go on with each text, edits at work on the prompt and on what is written.

        The whole text is run again for every token, without a cache: an edit then acts on every position as
        it would in one pass.

        Args:
            batch: prompts.
            n_tokens: tokens to write.
            edits: what is changed on the way.
            temperature: 0 takes the likeliest token.
            seed: chooses the tokens otherwise.

        Returns:
            For each prompt (n_tokens,) new token ids.
        """
        import torch

        rng = torch.Generator().manual_seed(seed)
        texts = [np.asarray(own, dtype=np.int32) for own in batch]
        for _ in range(n_tokens):
            logits_BTV = self.logits(texts, edits)
            for row, own in enumerate(texts):
                last_V = logits_BTV[row, len(own) - 1].cpu()
                if temperature:
                    token = int(torch.multinomial(torch.softmax(last_V / temperature, -1), 1, generator=rng))
                else:
                    token = int(last_V.argmax())
                texts[row] = np.append(own, np.int32(token))
        return [own[len(prompt) :] for own, prompt in zip(texts, batch, strict=True)]

    def lens(self, rows_nD: torch.Tensor) -> torch.Tensor:
        """Directions of the residual stream as tokens: through the last norm and the unembedding.

        The logit lens [nostalgebraist 2020] of a direction: each row is scaled to a root mean square of 1
        (norms don't see a scale but for their epsilon), normed with the last norm's gain but not its bias,
        and multiplied with the unembedding, without its bias. Biases are the same for every direction.

        Args:
            rows_nD: (n, width of the stream).

        Returns:
            (n, vocabulary), float32; their order is what counts, their scale has no unit.
        """
        import torch

        with torch.inference_mode():
            rows = rows_nD.to(self._head.weight.device).float()
            rows = rows / rows.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(1e-12)
            normed = self._last_norm(rows.to(self._head.weight.dtype)).float()
            bias = getattr(self._last_norm, "bias", None)
            if bias is not None:
                normed = normed - bias.float()
            found: torch.Tensor = normed @ self._head.weight.float().T
            return found

    def to_stream(self, site: str, rows_nd: torch.Tensor) -> torch.Tensor:
        """What directions of a site add to the residual stream.

        Args:
            site: where the rows live: the stream itself, what is added to it, or the input of the linear map
                that writes to it (MLP neurons, attention heads).
            rows_nd: (n, width of the site).

        Returns:
            (n, width of the stream).

        Raises:
            SubjectError: nothing says how the site's channels reach the stream.
        """
        import torch

        found = self.reader.site(site)
        module, stream = self.module(found), self._head.weight.shape[1]
        rows = rows_nd.to(self._head.weight.device)
        linear = isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"
        if found.side == "input" and linear:
            weight = module.weight.T if isinstance(module, torch.nn.Linear) else module.weight  # (in, out)
            rows = rows.float() @ weight.detach().float()
        if rows.shape[-1] != stream or found.normed or (found.side == "output" and _widens(module)):
            raise SubjectError(
                f"what is at {site} is not added to the residual stream, so that it has no output side: "
                "that is known of the stream, of what blocks add to it, of MLP neurons and attention heads"
            )
        return rows.float()

    def stream_length(self, batch: Sequence[Ids]) -> float:
        """How long the residual stream is before the last norm: its root mean square over all tokens.

        Args:
            batch: token ids of each context.
        """
        kept: list[torch.Tensor] = []
        handle = self._last_norm.register_forward_pre_hook(lambda _module, args: kept.append(args[0]))
        try:
            self.logits(batch)
        finally:
            handle.remove()
        first = self.reader.padded(batch)[2]
        squares = [
            float(row_TD[first : first + len(own)].float().pow(2).sum())
            for row_TD, own in zip(kept[0], batch, strict=True)
        ]
        return float(np.sqrt(sum(squares) / sum(map(len, batch))))

    def module(self, site: Site) -> Any:
        """The module of a site."""
        return self.reader.module(site)


def _widens(module: Any) -> bool:
    """Whether a module is a linear map into something wider, whose output no stream holds."""
    import torch

    return isinstance(module, torch.nn.Linear) and module.out_features > module.in_features


def _last_norm(reader: HuggingFaceSubject) -> Any:
    """The norm between the last block and the unembedding."""
    for path in ("ln_f", "final_layer_norm", "norm", "language_model.norm"):
        module = reader.modules.get(path)
        if module is not None:
            return module
    raise SubjectError(
        f"the last norm of {reader.name} can't be told, so that nothing of its features' output can be: "
        "known are GPT-2, GPT-NeoX, Llama, Mistral, Qwen, Gemma and OLMo"
    )


def open_causal(
    spec: str, device: str | None = None, dtype: str | None = None, prepend_bos: bool | None = None
) -> CausalSubject:
    """Load a causal language model as a subject; arguments as those of `open_subject`.

    Raises:
        SubjectError: it can't be found or read, or predicts no next token (an encoder).
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    options = Options.chosen(device, dtype, prepend_bos)
    folder, name = locate(spec)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if not predicts_next(config):
        raise SubjectError(
            f"{name} is an encoder ({config.model_type}), which predicts no next token: its features have no "
            "output side to measure"
        )
    model, tokenizer = load(AutoModelForCausalLM, folder, options)
    return CausalSubject(HuggingFaceSubject(name, model.base_model, tokenizer, prepend_bos), model)


def predicts_next(config: Any) -> bool:
    """Whether an architecture is a decoder: known to transformers as causal, and not as masked too."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    kind = type(config)
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in MODEL_FOR_MASKED_LM_MAPPING
