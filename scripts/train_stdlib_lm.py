"""Train the small causal subject and its sparse autoencoder that come with exegete.

    python scripts/train_stdlib_lm.py --out subjects/stdlib_lm [--epochs 6] [--seed 0]

1. Text: the documentation and the source of Python's standard library; every twentieth document (by a hash of
   its name) is held out.
2. A byte-level BPE tokenizer with a vocabulary of 4,096.
3. A Llama of four layers, 1.3 million parameters, contexts of 128 tokens, trained to predict the next token.
4. A TopK autoencoder of 1,024 latents on the residual stream after layer 2 [Gao et al. 2024, "Scaling and
   evaluating sparse autoencoders", sections 2.3 and appendix A.2: dead latents learn from what is left over].
5. Both as anybody would save them (transformers; SAELens' layout), with a card of what was measured.

About 35 minutes on two CPU cores.

Two runs with one seed on one machine give the same weights but for the order in which threads add.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from exegete.datastore.hashing import digest64
from exegete.subjects.corpora import StdlibDocs
from exegete.subjects.stdlib_source import StdlibSource

VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS, MLP = 4096, 128, 128, 4, 4, 344
BATCH, RATE, WARM_UP = 32, 3e-3, 200
LAYER, LATENTS, K, AUX_K, DEAD_AFTER = 2, 1024, 16, 64, 200_000
SAE_BATCH, SAE_STEPS, SAE_RATE = 2048, 8000, 1e-3
END = "<|end|>"


def texts() -> tuple[list[str], list[str]]:
    """Documents to train on, and those held out."""
    train, held = [], []
    for corpus in (StdlibDocs(), StdlibSource()):
        for document in corpus.documents():
            (held if digest64(corpus.name, document.name) % 20 == 0 else train).append(document.text)
    return train, held


def tokenizer_over(train: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, no prefix space, one token for the end of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(train, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def contexts(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> torch.Tensor:
    """(n, CONTEXT) windows of single documents, each after the end token, as a subject reads them."""
    rows = []
    for encoded in tokenizer(documents, add_special_tokens=False)["input_ids"]:
        for at in range(0, len(encoded) - CONTEXT // 2, CONTEXT - 1):
            row = [0, *encoded[at : at + CONTEXT - 1]]
            rows.append(row + [0] * (CONTEXT - len(row)))
    return torch.tensor(rows)


def loss_of(model: Any, ids_BT: torch.Tensor) -> torch.Tensor:
    """Mean next-token loss, nats; padding after a document's end is left out."""
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits
    targets = ids_BT[:, 1:].clone()
    targets[targets == 0] = -100
    return nn.functional.cross_entropy(
        logits_BTV[:, :-1].reshape(-1, VOCABULARY).float(), targets.reshape(-1)
    )


def train_model(train: torch.Tensor, held: torch.Tensor, epochs: float, seed: int) -> Any:
    """The language model, trained."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.1)
    steps = int(epochs * len(train) / BATCH)
    generator = torch.Generator().manual_seed(seed)
    batches = _batches(len(train), BATCH, generator)
    began = time.time()
    for step in range(steps):
        share = min(1.0, step / WARM_UP) * (0.1 + 0.9 * (1 + math.cos(math.pi * step / steps)) / 2)
        for group in optimiser.param_groups:
            group["lr"] = RATE * share
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, train[next(batches)])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if step % 200 == 0:
            minutes = (time.time() - began) / 60
            print(f"step {step} of {steps}: loss {loss.item():.3f}, {minutes:.1f} min", flush=True)
    return model.eval()


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Rows of one batch after the other, every epoch in another order."""
    while True:
        order = torch.randperm(n, generator=generator)
        yield from (order[at : at + size] for at in range(0, n - size + 1, size))


@torch.no_grad()
def stream(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """(n_tokens, WIDTH) the residual stream after LAYER at the texts' own tokens."""
    found = []
    for at in range(0, len(ids), 64):
        rows = ids[at : at + 64]
        hidden = model.model(input_ids=rows, output_hidden_states=True, use_cache=False).hidden_states
        found.append(hidden[LAYER + 1][rows != 0])
    return torch.cat(found)


class TopKAutoencoder(nn.Module):
    """x -> relu of the K largest of (x - b_dec) W_enc + b_enc -> x."""

    def __init__(self, mean_d: torch.Tensor, generator: torch.Generator) -> None:
        super().__init__()
        W_dec_Fd = nn.functional.normalize(torch.randn(LATENTS, WIDTH, generator=generator), dim=1)
        self.W_dec = nn.Parameter(W_dec_Fd)
        self.W_enc = nn.Parameter(W_dec_Fd.T.clone())
        self.b_enc = nn.Parameter(torch.zeros(LATENTS))
        self.b_dec = nn.Parameter(mean_d.clone())

    def pre(self, x_Nd: torch.Tensor) -> torch.Tensor:
        return (x_Nd - self.b_dec) @ self.W_enc + self.b_enc

    @staticmethod
    def top(pre_NF: torch.Tensor, k: int) -> torch.Tensor:
        found = pre_NF.topk(k, dim=1)
        return torch.zeros_like(pre_NF).scatter(1, found.indices, nn.functional.relu(found.values))

    def forward(self, x_Nd: torch.Tensor) -> torch.Tensor:
        return self.top(self.pre(x_Nd), K) @ self.W_dec + self.b_dec


def train_sae(acts: torch.Tensor, seed: int) -> TopKAutoencoder:
    """The autoencoder, trained on activations whose mean square norm is brought to WIDTH."""
    generator = torch.Generator().manual_seed(seed)
    scale = math.sqrt(WIDTH / float(acts.pow(2).sum(1).mean()))
    sae = TopKAutoencoder(acts.mean(0) * scale, generator)
    optimiser = torch.optim.Adam(sae.parameters(), SAE_RATE)
    silent_F = torch.zeros(LATENTS)
    for step in range(SAE_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = SAE_RATE * min(1.0, (SAE_STEPS - step) / (0.2 * SAE_STEPS))
        x = acts[torch.randint(len(acts), (SAE_BATCH,), generator=generator)] * scale
        pre = sae.pre(x)
        fired = sae.top(pre, K)
        error = x - (fired @ sae.W_dec + sae.b_dec)
        loss = error.pow(2).sum(1).mean()
        silent_F = torch.where((fired > 0).any(0), 0.0, silent_F + SAE_BATCH)
        dead = silent_F > DEAD_AFTER
        if dead.any():
            of_dead = torch.where(dead, pre, torch.full_like(pre, -math.inf))
            aux = sae.top(of_dead, min(AUX_K, int(dead.sum()))) @ sae.W_dec
            loss = loss + (error.detach() - aux).pow(2).sum(1).mean() / 32
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
        if step % 1000 == 0:
            print(
                f"autoencoder step {step}: error {error.pow(2).sum(1).mean().item() / WIDTH:.3f}", flush=True
            )
    with torch.no_grad():  # back to the stream's own units
        sae.b_dec /= scale
        sae.b_enc /= scale
    return sae.eval()


@torch.no_grad()
def measured(model: Any, sae: TopKAutoencoder, held: torch.Tensor) -> dict[str, Any]:
    """What the card says, on documents that neither was trained on."""
    acts = stream(model, held)
    pre = torch.cat([sae.top(sae.pre(acts[at : at + 8192]), K) > 0 for at in range(0, len(acts), 8192)])
    rebuilt = sae(acts)
    plain = _held_loss(model, held)
    layer = model.model.layers[LAYER]
    with_sae = _held_loss(model, held, layer, sae)
    without = _held_loss(model, held, layer, sae.b_dec.expand_as)
    return {
        "held_out_loss_nats": plain,
        "unigram_entropy_nats": _unigram(held),
        "sae_loss_nats": with_sae,
        "sae_loss_recovered": (without - with_sae) / (without - plain),
        "sae_fraction_of_variance_unexplained": float(
            (acts - rebuilt).pow(2).sum() / (acts - acts.mean(0)).pow(2).sum()
        ),
        "sae_l0": float(pre.float().sum(1).mean()),
        "sae_dead_share": float((~pre.any(0)).float().mean()),
        "held_out_tokens": len(acts),
    }


def _unigram(held: torch.Tensor) -> float:
    counts = torch.bincount(held[held != 0]).double()
    p = counts[counts > 0] / counts.sum()
    return float(-(p * p.log()).sum())


def _held_loss(model: Any, held: torch.Tensor, layer: Any = None, put: Any = None) -> float:
    """Held-out loss, with what passes a layer replaced if asked."""

    def replace(_: Any, __: Any, out: Any) -> Any:
        return (put(out[0]), *out[1:]) if isinstance(out, tuple) else put(out)

    handle = layer.register_forward_hook(replace) if layer is not None else None
    losses = [float(loss_of(model, held[at : at + 64])) for at in range(0, len(held), 64)]
    if handle is not None:
        handle.remove()
    return float(np.mean(losses))


CARD = Path(__file__).with_name("stdlib_lm_card.md")


def save(out: Path, tokenizer: Any, model: Any, sae: TopKAutoencoder, card: dict[str, Any]) -> None:
    """Everything, as files."""
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    folder = out / "sae"
    folder.mkdir(exist_ok=True)
    names = ("W_enc", "W_dec", "b_enc", "b_dec")
    save_file({n: getattr(sae, n).detach().contiguous() for n in names}, folder / "sae_weights.safetensors")
    site = f"blocks.{LAYER}.hook_resid_post"
    config = {
        "architecture": "topk",
        "d_in": WIDTH,
        "d_sae": LATENTS,
        "k": K,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "rescale_acts_by_decoder_norm": False,
        "reshape_activations": "none",
        "metadata": {
            "hook_name": site,
            "model_name": "stdlib-lm",
            "prepend_bos": True,
            "context_size": CONTEXT,
            "dataset_path": "stdlib-docs, stdlib-source",
            "sae_lens_version": "6.0.0",
        },
    }
    (folder / "cfg.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    percents = {
        "dead_percent": 100 * card["sae_dead_share"],
        "recovered_percent": 100 * card["sae_loss_recovered"],
    }
    (out / "README.md").write_text(CARD.read_text().format(**card, **percents))


def main() -> None:
    """Train, measure, save."""
    parser = argparse.ArgumentParser(description="Train the causal subject that comes with exegete")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train_texts, held_texts = texts()
    tokenizer = tokenizer_over(train_texts)
    train, held = contexts(tokenizer, train_texts), contexts(tokenizer, held_texts)
    print(f"{(train != 0).sum():,} tokens to train on, {(held != 0).sum():,} held out", flush=True)
    model = train_model(train, held, options.epochs, options.seed)
    model.half().float()  # measured as it is saved
    sae = train_sae(stream(model, train), options.seed)
    card = {
        "text": [StdlibDocs().fingerprint(), StdlibSource().fingerprint()],
        "training_tokens": int((train != 0).sum()),
        "epochs": options.epochs,
        "seed": options.seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        **measured(model, sae, held),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    print(json.dumps(card, indent=1), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    save(options.out, tokenizer, model, sae, card)


if __name__ == "__main__":
    main()
