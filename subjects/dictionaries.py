"""What turns activations at a site into features.

    neurons                               the site's own channels (at `attn.hook_z`: the heads' outputs)
    FOLDER                                weights of SAELens, sparsify, dictionary_learning or Gemma Scope
    hf://ORG/REPO[/SUBFOLDER][@REVISION]  such a folder of the hub
    stdlib-lm/sae                         that of the small model that comes with exegete
    directions:FILE.safetensors[:TENSOR]  a matrix (n, d): probes, steering vectors, principal components

Which kind of folder it is shows in its files' names. docs/dictionaries.md has the formulae.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from exegete.errors import SubjectError
from exegete.subjects import bundled, dictionary_learning, gemma_scope, saelens, sparsify
from exegete.subjects.coder import Fired, SparseCoder, check_finite
from exegete.subjects.directions import PREFIX as DIRECTIONS
from exegete.subjects.directions import read_directions
from exegete.subjects.hub import PREFIX as HUB
from exegete.subjects.hub import Place, fetch, local
from exegete.subjects.origin import Origin
from exegete.subjects.sites import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class Dictionary(Protocol):
    """A set of features read from one site.

    With a sparse autoencoder of four features over two channels, of which only features 1 and 3 fire:

        dictionary.encode(acts_ND, torch.tensor([1, 2]))  # [[0.7, 0.0]]
        dictionary.fire(acts_ND)                          # token [0, 0], feature [1, 3], value [0.7, 2.1]
    """

    @property
    def name(self) -> str:
        """ "neurons", or the name of the weights with a digest of them and of their config."""

    @property
    def n_features(self) -> int:
        """How many features there are."""

    @property
    def width(self) -> int:
        """Channels that it reads; of a dictionary of one attention head, that head's."""

    @property
    def sparse(self) -> bool:
        """Whether a silent feature is exactly 0; otherwise firing is decided by a recorded threshold."""

    @property
    def origin(self) -> Origin:
        """The site and model it belongs to, and what it needs of its inputs, as far as its files say."""

    def encode(self, acts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Feature activations.

        Args:
            acts: (…, width) activations at the site.
            features: (n,) indices of the wanted features.

        Returns:
            (…, n) activations, raw units.

        Raises:
            SubjectError: the activations are of another width.
        """

    def fire(self, acts_ND: torch.Tensor) -> Fired:
        """Everything above 0, without an (N, F) tensor but in bounded chunks of tokens.

        Args:
            acts_ND: (N, width) activations at the site, of the texts' own tokens only.

        Returns:
            Flat tensors on the activations' device. A dense dictionary gives about half of all activations:
            of one, encode the features that are wanted.

        Raises:
            SubjectError: the activations are of another width, or not finite.
        """

    def decode_rows(self, features: torch.Tensor) -> torch.Tensor | None:
        """What one unit of each feature adds to the output site.

        Args:
            features: (n,) indices.

        Returns:
            (n, d_out) rows of the decoder, on the CPU wherever activations come from, or None when the
            dictionary has none.
        """

    def scale(self, acts: torch.Tensor) -> torch.Tensor | float:
        """What a unit of a feature counts in the output, where inputs are scaled token by token.

        Args:
            acts: (…, width of the site) activations at the site that is read.

        Returns:
            (…,) factors of the decoder's rows, or 1.
        """


@dataclass(frozen=True, slots=True)
class Neurons:
    """The channels of a site, as they are."""

    n_features: int
    name: str = "neurons"
    sparse: bool = False
    origin: Origin = field(default_factory=Origin)

    @property
    def width(self) -> int:
        """As many as there are features."""
        return self.n_features

    def encode(self, acts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The wanted channels."""
        return acts.index_select(-1, features.to(acts.device))

    def fire(self, acts_ND: torch.Tensor) -> Fired:
        """The channels above 0."""
        check_finite(self.name, acts_ND)
        token, channel = (acts_ND > 0).nonzero(as_tuple=True)
        return Fired(token, channel, acts_ND[token, channel].float())

    def decode_rows(self, features: torch.Tensor) -> None:
        """None: what a channel adds depends on what comes after its site."""

    def scale(self, acts: torch.Tensor) -> float:
        """1."""
        return 1.0


class Format(Protocol):
    """A module that reads one kind of folder."""

    CONFIG: str
    """Its config's file name."""
    WEIGHTS: tuple[str, ...]
    """Names of files that only it writes."""

    def origin(self, place: Place) -> Origin:
        """From its config alone."""

    def read(self, place: Place) -> SparseCoder:
        """All of it."""


FORMATS: tuple[Format, ...] = (saelens, sparsify, dictionary_learning, gemma_scope)


def open_dictionary(spec: str, width: int | None = None) -> Dictionary:
    """Open a dictionary; see the module's table.

    Args:
        spec: what to open.
        width: channels at the site that is read; None leaves open whether it fits. `neurons` needs it.

    Raises:
        SubjectError: there is none, it is of a kind that can't be read, its files are damaged, or it reads
            another number of channels than the site has.
    """
    if spec == "neurons":
        if width is None:
            raise SubjectError("neurons are a site's own channels: name the site with --site")
        return Neurons(width)
    dictionary: Dictionary
    if spec.startswith(DIRECTIONS):
        dictionary = read_directions(spec)
    else:
        place = _locate(spec)
        dictionary = _format_of(spec, place).read(place)
    if width is not None:
        _check_width(dictionary, width)
    return dictionary


def absolute(spec: str) -> str:
    """The same dictionary by a name that holds in any working directory."""
    prefix = DIRECTIONS if spec.startswith(DIRECTIONS) else ""
    path = Path(spec.removeprefix(prefix))
    if not prefix and (spec in ("neurons", bundled.DICTIONARY) or spec.startswith(HUB)):
        return spec
    return f"{prefix}{path.resolve()}"


def dictionary_origin(spec: str) -> Origin:
    """Where a dictionary belongs, from its config alone: cheap, since no weights are read.

    Raises:
        SubjectError: there is none, it is of a kind that can't be read, or its config is damaged.
    """
    if spec == "neurons" or spec.startswith(DIRECTIONS):
        return Origin()
    place = _locate(spec)
    return _format_of(spec, place).origin(place)


def choose_site(asked: str | None, origin: Origin, spec: str) -> str:
    """The site to read: what was asked for, or else the dictionary's own.

    Raises:
        SubjectError: neither says.
    """
    site = asked or origin.site
    if site is None:
        if spec == "neurons":
            raise SubjectError(
                "nothing says where neurons are to be read: name it with --site, such as --site "
                "encoder.layer.3.intermediate or --site blocks.3.mlp.hook_post"
            )
        raise SubjectError(
            f"nothing in the dictionary {spec!r} says which site it reads: name it with --site"
        )
    return site


def site_mismatch(origin: Origin, site: str, resolve: Callable[[str], Site]) -> str | None:
    """Whether a dictionary is read at another site than its own.

    Args:
        origin: what the dictionary says.
        site: where it is read.
        resolve: the subject's `site`.

    Returns:
        A sentence for a person, or None when the two are one place, or the dictionary does not say.
    """
    if origin.site is None:
        return None
    try:
        own: Site | None = resolve(origin.site)
    except SubjectError:
        own = None
    if own == resolve(site):
        return None
    return (
        f"the dictionary was trained at {origin.site} and is read at {site}: its features mean little there"
    )


def _locate(spec: str) -> Place:
    if spec.startswith(HUB):
        # No pickle is ever fetched: whoever wants ae.pt fetches it by hand.
        names = {n for f in FORMATS for n in (f.CONFIG, *f.WEIGHTS) if not n.endswith(".pt")}
        return fetch(spec, sorted(names))
    if spec == bundled.DICTIONARY:
        folder = bundled.dictionary_folder()
        return Place(folder, folder.as_posix(), bundled.DICTIONARY.replace("/", "-"))
    folder = Path(spec)
    if not folder.is_dir():
        raise SubjectError(
            f"there is no dictionary {spec!r}: pass neurons, a folder, hf://ORG/REPO[/SUBFOLDER][@REVISION], "
            f"{bundled.DICTIONARY} or directions:FILE.safetensors[:TENSOR]"
        )
    return local(folder)


def _format_of(spec: str, place: Place) -> Format:
    """The one kind of folder that it is."""
    found = [(f, name) for f in FORMATS for name in f.WEIGHTS if (place.folder / name).is_file()]
    if len(found) == 1:
        return found[0][0]
    if found:
        names = " and ".join(name for _, name in found)
        raise SubjectError(f"{spec} holds {names}, of different dictionaries: leave one of them in it")
    every = ", ".join(name for f in FORMATS for name in f.WEIGHTS)
    inside = sorted({p.parent for f in FORMATS for name in f.WEIGHTS for p in place.folder.rglob(name)})
    if inside:
        some = ", ".join(str(p) for p in inside[:3])
        raise SubjectError(
            f"{spec} holds no dictionary itself: pass one of the folders in it, such as {some}"
        )
    where = (
        "name its subfolder, or fetch an ae.pt by hand"
        if spec.startswith(HUB)
        else "pass the folder it is in"
    )
    raise SubjectError(f"{spec} holds none of {every}: {where}")


def _check_width(dictionary: Dictionary, width: int) -> None:
    head, own = dictionary.origin.head, dictionary.width
    if (width == own) if head is None else (width % own == 0 and head < width // own):
        return
    channels = f"{own} channels" if head is None else f"head {head} of {own} channels"
    site = f", which is {dictionary.origin.site}" if dictionary.origin.site else ""
    raise SubjectError(
        f"the dictionary {dictionary.name} reads {channels} and the site has {width}: pass the site it was "
        f"trained at as --site{site}, and the same model"
    )
