"""However a reply is malformed, it never becomes a score, a zero or a label that a good one would not give.

A competent model's reply is damaged at random and goes the whole way: provider's body, Reply, structured.ask,
simulator or explainer, scorer. Asked again, the model gives another damaged reply, or a good one.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exegete import explainers, scorers, simulators
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.records import Context, Evidence, Label, Plan
from exegete.datastore.workspace import Workspace
from exegete.errors import NoReadableReply
from exegete.explainers.hygiene import clean
from exegete.llm import Reply, Request
from exegete.llm.anthropic import read_message
from exegete.llm.failure import CallFailed
from exegete.llm.openai import read_chat, read_response
from exegete.simulators.simulator import Simulation
from tests.agent import competent, planted
from tests.provider import Api, Asked, Said
from tests.provider_forms import BODIES

FEATURE = 1
LABEL = planted.TRUTH[FEATURE]
PLAN = Plan(6, 1, 8, 4, 32, "word")
READERS: Mapping[Api, Callable[[Any, str], Reply]] = {
    "chat": read_chat,
    "responses": read_response,
    "messages": read_message,
}

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.floats(),
    st.text(max_size=5),
    st.builds(list),
    st.builds(dict),
    st.just(10**400),
)
"""Values that may stand anywhere in JSON."""


@dataclass
class Damaged:
    """An LLM that answers competently, then has its text damaged, then its provider's body."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    damage: Callable[[Callable[[st.SearchStrategy[Any]], Any], str], Said]
    calls: int = 0

    async def complete(self, request: Request) -> Reply:
        self.calls += 1
        said = self.damage(self.draw, competent.answer(request.messages[0].text))
        api: Api = self.draw(st.sampled_from(sorted(READERS)))
        asked = Asked(api, "m", "", (("user", "q"),), None, "", {}, {})
        return READERS[api](BODIES[api](asked, said), "m")

    async def close(self) -> None:
        """Nothing is open."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of everything in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """What lies at a path."""
    for key in path:
        value = value[key]
    return value


def framed(draw: Callable[[st.SearchStrategy[Any]], Any], text: str) -> Said:
    """A text as models garnish, cut or refuse it; some of these are still readable, and say the same."""
    how = draw(
        st.sampled_from(["plain", "fence", "prose", "thought", "torn", "twice", "empty", "thinking", "end"])
    )
    body = {
        "plain": text,
        "fence": f"```json\n{text}\n```",
        "prose": f"Certainly! Here it is:\n{text}\nI hope this helps.",
        "thought": f"<think>It could be {{}} or [1].</think>{text}",
        "torn": text[: draw(st.integers(0, len(text) - 1))] if text else "",
        "twice": f"{text}\n{text.replace('1', '2')}",
        "empty": "",
        "thinking": f"<think>{text}",
        "end": text,
    }[how]
    finish = draw(st.sampled_from(["length", "refusal", "filtered"])) if how == "end" else "stop"
    return Said(body, finish=finish, usage=draw(st.booleans()))


def dumped(value: Any) -> str:
    """JSON, or what some models take for it: NaN and Infinity."""
    return json.dumps(value, ensure_ascii=False)


def damaged_simulation(draw: Callable[[st.SearchStrategy[Any]], Any], text: str) -> Said:
    """A simulation with wrong types, numbers out of range, items left out, given twice, to nobody, or extra.

    No list of places is made shorter, and no level becomes another one: that would be another answer, and no
    malformed one.
    """
    value: Any = json.loads(text)
    for _ in range(draw(st.integers(0, 3))):
        items = value["excerpts"]
        if not isinstance(items, list) or not items:
            break
        n = draw(st.integers(0, len(items) - 1))
        item = items[n]
        what = draw(st.sampled_from(["drop", "double", "number", "extra", "fires", "level", "place", "key"]))
        if what == "drop":
            del items[n]
        elif what == "double":
            items.append(copy.deepcopy(item))
        elif not isinstance(item, dict) or not isinstance(item.get("fires"), list):
            items[n] = draw(odd)
        elif what == "number":
            item["excerpt"] = draw(
                st.one_of(st.integers(90, 99), st.none(), st.booleans(), st.text(max_size=2))
            )
        elif what == "extra":
            item["note"] = draw(odd)
        elif what == "fires":
            item["fires"] = draw(odd.filter(lambda one: one != []))
        elif what == "level":
            bad = draw(st.sampled_from([11, -1, 3.5, "8", None, True, float("nan"), float("inf"), 10**400]))
            item["fires"].append([draw(st.sampled_from(planted.VOCABULARY)), 1, bad])
        elif what == "place":
            bad = draw(st.sampled_from([0, 99, -1, None, "1", 1.0, True]))
            item["fires"].append([draw(st.sampled_from(["nosuchword", planted.WORD, "", 7])), bad, 5])
        else:
            value = {"excerpts": items, draw(st.sampled_from(["score", "Excerpts", ""])): draw(odd)}
    return framed(draw, dumped(value))


def damaged_proposals(draw: Callable[[st.SearchStrategy[Any]], Any], text: str) -> Said:
    """A list of labels with anything in the place of anything."""
    value: Any = {"labels": [{"text": LABEL}, {"text": "another label"}]}
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(value))))
        if not path or draw(st.booleans()):
            target = at(value, path)
            if isinstance(target, dict):
                target[draw(st.sampled_from(["text", "labels", "score", ""]))] = draw(odd)
            continue
        parent = at(value, path[:-1])
        if draw(st.booleans()):
            parent[path[-1]] = draw(odd)
        else:
            del parent[path[-1]]
    return framed(draw, dumped(value))


@pytest.fixture(scope="module")
def report(template: Path) -> Evidence:
    """Evidence to score on."""
    file = Workspace.open(template).open_evidence()
    found = ReportEvidence(file).report(file.feature(FEATURE), PLAN)
    file.close()
    return found


@pytest.fixture(scope="module")
def explain(template: Path) -> Evidence:
    """Evidence to label from."""
    file = Workspace.open(template).open_evidence()
    found = AgentEvidence(file).explain(file.feature(FEATURE), Plan(6, 1, 0, 0, 32, "word"))
    file.close()
    return found


@dataclass
class Given:
    """A simulator that hands over what it was given."""

    levels: Mapping[int, Any]
    name: str = "given"

    async def simulate(self, label: str, contexts: Any) -> Simulation:
        found = tuple(self.levels[id(context)] for context in contexts)
        return Simulation(found, tuple(None if one is not None else "missing" for one in found))


def competently(contexts: Any) -> list[Any]:
    """The levels a competent model says, from its rule and not from any reply."""
    found = []
    for context in contexts:
        levels = np.zeros(len(context.tokens), dtype=np.float32)
        for place, level in competent.fires(LABEL, [token.strip() for token in context.tokens]):
            levels[place] = level
        found.append(levels)
    return found


@settings(max_examples=120)
@given(data=st.data())
def test_a_malformed_simulation_is_missing(report: Evidence, data: st.DataObject) -> None:
    """Each excerpt has the levels that were meant, or none; the score is that of those read, or none."""
    llm = Damaged(data.draw, damaged_simulation)
    simulator = simulators.build("sparse", llm, "m")
    contexts: list[Context] = [excerpt.context for excerpt in report.excerpts]
    simulation = asyncio.run(simulator.simulate(LABEL, contexts))
    for context, meant, levels, why in zip(
        contexts, competently(contexts), simulation.levels, simulation.why_missing, strict=True
    ):
        assert (levels is None) == bool(why), context
        assert levels is None or levels.tolist() == meant.tolist(), context
    event(f"{simulation.n_read * 4 // len(contexts)} quarters read")

    by_context = {id(context): levels for context, levels in zip(contexts, simulation.levels, strict=True)}
    scorer = scorers.build("simulation", Given(by_context), split="report", threshold=0.5, seed=1)
    score = asyncio.run(scorer.score(Label(report.feature, LABEL, 0, "a"), report))
    assert score.n_read == simulation.n_read
    if simulation.n_read < 0.8 * len(contexts):
        assert (score.value, score.p_value) == (None, None)
        assert score.why_none
    elif score.value is not None:
        read = [n for n, levels in enumerate(simulation.levels) if levels is not None]
        meant = competently(contexts)
        said = np.concatenate([meant[n] for n in read])
        true = np.concatenate([report.excerpts[n].activations for n in read])
        assert score.value == pytest.approx(np.corrcoef(said, true)[0, 1], abs=1e-6)


@settings(max_examples=150)
@given(data=st.data())
def test_a_malformed_proposal_is_no_label(explain: Evidence, data: st.DataObject) -> None:
    """Labels are those that a whole, valid reply said as labels; else there is a reason, and no label."""
    said: list[str] = []

    def damage(draw: Callable[[st.SearchStrategy[Any]], Any], text: str) -> Said:
        said.append((one := damaged_proposals(draw, text)).text)
        return one

    llm = Damaged(data.draw, damage)
    explainer = explainers.build("highlight", llm, "m")
    try:
        labels = asyncio.run(explainer.explain(explain, 3))
    except NoReadableReply:
        event("none")
        return
    event(f"{len(labels)} labels after {llm.calls} calls")
    for label in labels:
        assert isinstance(label.text, str)
        assert label.text.strip()
        spoken = json.dumps(label.text, ensure_ascii=False)[1:-1].split()
        # What can't be seen is taken out of labels, and may stand between the letters of a word.
        heard = clean(re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), said[-1]))
        assert all(word in said[-1] or word in heard for word in spoken), "it stands in the last reply"
        assert '"text"' not in label.text


anything = st.recursive(odd, lambda inner: st.lists(inner, max_size=3), max_leaves=4)


@settings(max_examples=300)
@given(api=st.sampled_from(sorted(READERS)), data=st.data())
def test_a_malformed_body(api: Api, data: st.DataObject) -> None:
    """Anything anywhere in a provider's body: a failure, or a reply without a text or count of our making."""
    asked = Asked(api, "m", "", (("user", "a question"),), None, "", {}, {})
    body = BODIES[api](asked, Said("the very reply", cached_tokens=1))
    counts = {value for path in places(body) if isinstance(value := at(body, path), int)}
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(body))))
        if not path:
            continue
        parent = at(body, path[:-1])
        if data.draw(st.booleans()):
            parent[path[-1]] = new = data.draw(anything)
            counts |= {value for where in places(new) if isinstance(value := at(new, where), int)}
        else:
            del parent[path[-1]]
    try:
        reply = READERS[api](body, "m")
    except CallFailed:
        event("failed")
        return
    event("no text" if not reply.text else "text")
    strings = [value for path in places(body) if isinstance(value := at(body, path), str)]
    assert (
        not reply.text
        or reply.text.encode("utf-8", "replace").decode() in "".join(strings)
        or "�" in reply.text
    )
    for count in (reply.output_tokens, reply.cached_tokens):
        assert count is None or (type(count) is int and count >= 0 and count in counts)
    assert reply.input_tokens is None or reply.input_tokens >= 0
