"""Names of sites, and what is said of names that are none."""

from __future__ import annotations

import pytest

from exegete.errors import SubjectError
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.sites import Site, resolve_site

MODULES = ["", "h", "h.0", "h.0.mlp", "h.0.mlp.c_proj", "h.11", "h.11.attn.c_proj", "ln_f", "wte"]


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("h.0.mlp", Site("h.0.mlp", "output", 0)),
        ("h.11", Site("h.11", "output", 11)),
        ("ln_f", Site("ln_f", "output", None)),
        ("transformer.h.0.mlp", Site("h.0.mlp", "output", 0)),
        ("blocks.11.hook_resid_pre", Site("h.11", "input", 11)),
        ("blocks.11.hook_resid_post", Site("h.11", "output", 11)),
        ("blocks.0.mlp.hook_post", Site("h.0.mlp.c_proj", "input", 0)),
        ("blocks.0.hook_mlp_out", Site("h.0.mlp", "output", 0)),
        ("blocks.11.attn.hook_z", Site("h.11.attn.c_proj", "input", 11)),
        ("blocks.0.mlp.hook_in", Site("h.0.mlp", "input", 0)),
        ("h.0.mlp.input", Site("h.0.mlp", "input", 0)),
        ("h.0.mlp.output", Site("h.0.mlp", "output", 0)),
        ("transformer.h.0.mlp.input", Site("h.0.mlp", "input", 0)),
    ],
)
def test_names(name: str, site: Site) -> None:
    """A hook name, a module path or one with the language model's prefix is a module, a side and a layer."""
    assert resolve_site(name, "gpt2", MODULES, "transformer") == site


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("h.0.mpl", r"no module 'h\.0\.mpl'; the nearest are h\.0\.mlp, "),
        ("blocks.12.hook_mlp_out", "no block 12, which 'blocks.12.hook_mlp_out' names: pass one of 0 to 11"),
        ("blocks.11.hook_mlp_out", r"no module 'blocks\.11\.hook_mlp_out'; the nearest are .*h\.11"),
        ("blocks.0.hook_resid_pst", r"'blocks\.0\.hook_resid_pst' is no hook name: .* hook_resid_post, "),
        ("", "no module ''"),
        ("transformer", "no module 'transformer': pass one of its module paths"),
        ("zzzzzzzzzzzzzz", "no module 'zzzzzzzzzzzzzz': pass one"),
        ("blocks.0.hook_mlp_out.", "is no hook name"),
        ("h.0.mpl.input", r"no module 'h\.0\.mpl\.input'; the nearest are h\.0\.mlp, "),
        (".input", r"no module '\.input'"),
    ],
)
def test_no_such_module(name: str, said: str) -> None:
    """A name that is none is refused with the nearest that are, or with what a name looks like."""
    with pytest.raises(SubjectError, match=said):
        resolve_site(name, "gpt2", MODULES, "transformer")


def test_hook_names_of_other_architectures() -> None:
    """A hook name of an architecture that is not known says which are; its module paths still work."""
    with pytest.raises(SubjectError, match=r"bert, .*gpt2, .*and not for 'mamba': pass a module path"):
        resolve_site("blocks.0.hook_resid_pre", "mamba", MODULES)
    assert resolve_site("h.0", "mamba", MODULES).module == "h.0"


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("language_model.layers.3", Site("language_model.layers.3", "output", 3)),
        ("model.language_model.layers.3", Site("language_model.layers.3", "output", 3)),
        ("model.layers.3.output", Site("language_model.layers.3", "output", 3)),
        ("layers.3.mlp.input", Site("language_model.layers.3.mlp", "input", 3)),
        ("blocks.3.hook_resid_pre", Site("language_model.layers.3", "input", 3)),
    ],
)
def test_text_within_a_model_that_sees(name: str, site: Site) -> None:
    """Gemma 3's text model lies within another, and its modules are found as either would name them."""
    modules = ["", "language_model", "language_model.layers.3", "language_model.layers.3.mlp", "vision_tower"]
    assert resolve_site(name, "gemma3", modules, "model") == site


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        ("bert", "hook_resid_mid"),
        ("bert", "ln2.hook_normalized"),
        ("gpt_neox", "hook_resid_mid"),
        ("olmo2", "ln2.hook_normalized"),
    ],
)
def test_hooks_that_a_block_lacks(kind: str, hook: str) -> None:
    """A place that an architecture's blocks do not have is refused by name."""
    with pytest.raises(SubjectError, match=rf"a block of '{kind}' has no {hook}: pass a module path"):
        resolve_site(f"blocks.0.{hook}", kind, ["layers.0"])


def test_in_a_real_model(subjects: dict[str, HuggingFaceSubject]) -> None:
    """The same through a model: unknown names are refused before anything is run."""
    with pytest.raises(SubjectError, match=r"the nearest are encoder\.layer\.\d\.intermediate"):
        subjects["bert"].activations("encoder.layer.9.intermediate", [])
    assert subjects["llama"].site("model.layers.2.mlp") == Site("layers.2.mlp", "output", 2)
