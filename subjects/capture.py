"""Run a model once and take what passes at some of its modules, no further than the last of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from exegete.errors import SubjectError
from exegete.subjects.sites import Site

if TYPE_CHECKING:
    import torch


class _Reached(Exception):
    """Everything that was wanted has been seen: nothing later is needed."""


def capture(
    model: Any, modules: Mapping[str, Any], sites: Sequence[Site], **inputs: torch.Tensor
) -> dict[Site, Any]:
    """Run the model until every site has been passed.

    Args:
        model: a transformers model.
        modules: its modules by path.
        sites: where to look; a module that runs several times is read at its first.
        inputs: what the model is called with.

    Returns:
        For each site what passed there: for most modules a tensor.

    Raises:
        SubjectError: a site's module is never run.
    """
    import torch

    wanted, caught = set(sites), dict[Site, Any]()

    def catch(site: Site, value: Any) -> None:
        if site in caught:
            return
        value = value[0] if isinstance(value, tuple) else value
        value = getattr(value, "last_hidden_state", value)
        last = len(caught) + 1 == len(wanted)
        # What runs after this could write into the tensor.
        caught[site] = value if last or not isinstance(value, torch.Tensor) else value.clone()
        if last:
            raise _Reached

    handles = [_hook(modules[site.module], site, catch) for site in wanted]
    try:
        with torch.inference_mode():
            model(**inputs)
    except _Reached:
        pass
    finally:
        for handle in handles:
            handle.remove()
    never = sorted(site.module for site in wanted if site not in caught)
    if never:
        raise SubjectError(f"module {never[0]!r} is never run by the model: choose another --site")
    return {site: _before_gain(v, modules[site.module]) if site.normed else v for site, v in caught.items()}


def hooked(module: Any, site: Site, see: Callable[[torch.Tensor], None]) -> Any:
    """Look at what passes at a site whenever its module runs.

    Args:
        module: the site's.
        site: which side of it, and whether as its norm scales it.
        see: is handed the tensor.

    Returns:
        A handle that takes the hook away.
    """

    def catch(_: Site, value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        see(_before_gain(value, module) if site.normed else value)

    return _hook(module, site, catch)


def _hook(module: Any, site: Site, catch: Callable[[Site, Any], None]) -> Any:
    if site.side == "output":
        return module.register_forward_hook(lambda _m, _args, out: catch(site, out))
    return module.register_forward_pre_hook(
        lambda _m, args, options: catch(site, args or tuple(options.values())), with_kwargs=True
    )


def _before_gain(x: torch.Tensor, norm: Any) -> torch.Tensor:
    """A LayerNorm's or RMSNorm's input as it scales it, in float32 between, as the norms do."""
    import torch

    own = x.float()
    if isinstance(norm, torch.nn.LayerNorm):
        own = own - own.mean(-1, keepdim=True)
    eps = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    return (own * torch.rsqrt(own.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)
