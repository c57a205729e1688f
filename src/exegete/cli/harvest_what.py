"""What a harvest is to read: which dictionary at which site, which part of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from exegete.cli.show import err
from exegete.errors import UsageError
from exegete.subjects.spec import HarvestSpec, Shard

if TYPE_CHECKING:
    from exegete.subjects.sites import Site


def read_what(
    spec: HarvestSpec, sites: Sequence[str], dictionaries: Sequence[str]
) -> tuple[list[HarvestSpec], bool | None]:
    """A spec for every site with its dictionary, and whether their contexts begin with a BOS token.

    Args:
        spec: what they have in common.
        sites: may be empty: every dictionary's own site, then.
        dictionaries: one for all sites, or one for each.

    Raises:
        UsageError: they don't match, or need different contexts.
        SubjectError: there is no such dictionary, or it does not say which site it reads.
    """
    from exegete.subjects.dictionaries import choose_site, dictionary_origin

    if sites and len(dictionaries) not in (1, len(sites)):
        raise UsageError(
            f"{len(sites)} sites and {len(dictionaries)} dictionaries: give one --dictionary for each "
            "--site, in the same order, or one for all"
        )
    names = list(dictionaries) * (len(sites) if len(dictionaries) == 1 and sites else 1)
    origins = [dictionary_origin(name) for name in names]
    asked: list[str | None] = [*sites] or [None] * len(names)
    specs = [
        replace(spec, site=choose_site(a_site, origin, name), dictionary=name)
        for a_site, origin, name in zip(asked, origins, names, strict=True)
    ]
    for note in dict.fromkeys(note for origin in origins for note in origin.notes):
        err.print(note, soft_wrap=True, markup=False, highlight=False)
    wanted = {o.needs.prepend_bos for o in origins if o.needs.prepend_bos is not None}
    if len(wanted) > 1:
        raise UsageError(
            "some of these dictionaries read contexts that begin with a BOS token, and some don't: "
            "harvest them apart"
        )
    return specs, wanted.pop() if wanted else None


def say_other_sites(specs: Sequence[HarvestSpec], resolve: Callable[[str], Site]) -> None:
    """Say which dictionaries are read at another site than their own; `resolve` is the subject's `site`."""
    from exegete.subjects.dictionaries import dictionary_origin, site_mismatch

    for spec in specs:
        said = site_mismatch(dictionary_origin(spec.dictionary), spec.site, resolve)
        if said is not None:
            err.print(said, soft_wrap=True, markup=False, highlight=False)


def parse_shard(text: str) -> Shard:
    """A shard such as 3/8.

    Raises:
        UsageError: it is none.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise UsageError(f"--shard {text!r} can't be read: write 0/8 to 7/8 for eight shards")
    return Shard(int(number), int(of))
