"""The output side of a small model's directions: planted ones are found among controls, random ones not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from exegete.agent import output_ablation, output_steering
from exegete.agent.output import OutputFindings, OutputStudy, output_rows
from exegete.agent.output_ablation import RANDOM, Ablated, AblationTable
from exegete.agent.output_steering import KL, SteeringTable
from exegete.agent.output_texts import OWN, neutral_texts, own_contexts, pool_contexts
from exegete.agent.rows import label_id
from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.hashing import digest64
from exegete.datastore.records import FeatureId, Label, Split
from exegete.datastore.store import Store
from exegete.errors import SubjectError
from exegete.scorers.ablation import ablation_score
from exegete.scorers.steering import LexicalJudge, deal, steering_score
from exegete.subjects.edits import Feature
from exegete.subjects.effects import Ablation, ablation
from exegete.subjects.laboratory import Laboratory
from exegete.subjects.output_tokens import token_names
from tests.agent.writing_model import N_RANDOM, PLANTED, Written, make
from tests.explainers.explainer_fakes import FakeLLM
from tests.subjects.tiny import save

pytestmark = pytest.mark.slow

NOON = datetime(2026, 1, 1, 12)
NOBODY = (None, None)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    found = make(tmp_path_factory.mktemp("written"))
    yield found
    found.file.close()


@pytest.fixture(scope="module")
def lab(written: Written) -> Iterator[Laboratory]:
    opened = Laboratory.open(written.file, device="cpu")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def study(written: Written, lab: Laboratory) -> OutputStudy:
    return OutputStudy.open(lab, written.file, explainer=NOBODY, judge=NOBODY, seed=0)


@pytest.fixture(scope="module")
def planted(written: Written, study: OutputStudy) -> list[OutputFindings]:
    """What is found of the directions that write known tokens."""
    return [asyncio.run(study.study(feature)) for feature in written.file.features[: len(PLANTED)]]


def test_planted_directions_are_found(planted: list[OutputFindings]) -> None:
    """Lens and token change name the token first; ablation and push rank above all 50 random directions."""
    for token, found in zip(PLANTED, planted, strict=True):
        lens, change, ablated = found.tokens
        assert [each.kind for each in found.tokens] == ["logit lens", "token change", "ablation"]
        assert lens.top_tokens[0] == change.top_tokens[0] == ablated.top_tokens[0] == token
        assert found.ablation.p_value == pytest.approx(1 / 51)
        assert found.ablation.details["share_of_others_below"] == 1.0
        assert found.steering is not None
        assert found.steering.details["p_push"] == pytest.approx(1 / 51)
        assert found.label is not None
        assert found.label.text.startswith(f'raises "{token}"')


def test_their_continuations_are_told_by_their_labels(planted: list[OutputFindings]) -> None:
    """Over all rounds far more often than by guessing."""
    scores = [found.steering for found in planted if found.steering is not None]
    right = sum(round((score.value or 0) * score.n_read) for score in scores)
    asked = sum(score.n_asked for score in scores)
    assert asked == 8 * len(PLANTED)
    assert stats.binomtest(right, asked, 0.25, "greater").pvalue < 1e-6


def test_random_directions_are_not(written: Written, lab: Laboratory) -> None:
    """Of 46 random directions ablation finds no more than alpha, as its p promises, at two levels."""
    table, found = AblationTable(lab.causal(), pool_contexts(written.file), 1), []
    for feature in written.file.features[len(PLANTED) :]:
        own, density = own_contexts(written.file, feature), written.file.summary(feature).density
        ablated = table.compare(lab.feature(feature), own, density)
        score = ablation_score(ablated.found, ablated.others, ablated.null, len(own), 0)
        found.append(score.p_value)
        assert len(ablated.null) == RANDOM
    assert len(found) == N_RANDOM
    for alpha in (0.05, 0.25):
        hits = sum(p is not None and p <= alpha for p in found)
        assert stats.binomtest(hits, N_RANDOM, alpha, "greater").pvalue > 0.01
    assert 0.3 < np.mean([p or 0 for p in found]) < 0.7


def test_random_directions_are_measured_once(
    written: Written, lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For features that fire about as often; the same ones whoever comes first, over as many contexts."""
    monkeypatch.setattr(output_ablation, "RANDOM", 5)
    monkeypatch.setattr(output_ablation, "OTHERS", 2)
    pool, (one, other) = pool_contexts(written.file), written.file.features[5:7]
    tables = [AblationTable(lab.causal(), pool, 0) for _ in range(2)]
    own = {feature: own_contexts(written.file, feature) for feature in (one, other)}

    def compare(table: AblationTable, feature: FeatureId, n: int = 10, density: float = 0.03) -> Ablated:
        return table.compare(lab.feature(feature), own[feature][:n], density)

    first, after = compare(tables[0], one), compare(tables[0], other)
    assert compare(tables[1], other).null == after.null
    again = compare(tables[1], one)
    assert (again.null, again.others) == (first.null, first.others)
    assert again.found.controls_in == first.found.controls_in
    counted: list[Feature] = []
    real = output_ablation.ablation
    monkeypatch.setattr(output_ablation, "ablation", lambda *args: counted.append(args[1]) or real(*args))
    few = compare(tables[0], one, n=4, density=0.025)
    assert len(counted) == 1  # its own
    assert len(few.null) == 5
    assert few.null != first.null
    compare(tables[0], one, density=0.2)
    assert len(counted) == 1 + 1 + 5
    assert AblationTable(lab.causal(), pool, 0).compare(lab.feature(one), [], 0.03) == Ablated(Ablation())


def test_a_label_of_another_direction_is_not_told(
    written: Written, lab: Laboratory, study: OutputStudy
) -> None:
    """Where the label is another planted direction's, the right set is picked as often as by guessing."""
    table = study._steering_of
    right = asked = 0
    for index, token in enumerate(PLANTED):
        other = written.file.features[(index + 1) % len(PLANTED)]
        compared = table.compare(lab.feature(other))
        assert not isinstance(compared, str)
        label = Label(other, f'raises "{token}"', "x", side="output")
        score = asyncio.run(
            steering_score(label, deal(label, compared.own, compared.controls, 0), LexicalJudge(0))
        )
        right += round((score.value or 0) * score.n_read)
        asked += score.n_asked
    assert stats.binomtest(right, asked, 0.25, "greater").pvalue > 0.05


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two controls of either kind: making more takes seconds."""
    monkeypatch.setattr(output_steering, "CONTROLS", 2)
    monkeypatch.setattr(output_steering, "PUSHED", 2)


@pytest.mark.usefixtures("few")
def test_controls_are_the_same_whoever_comes_first(
    written: Written, lab: Laboratory, study: OutputStudy
) -> None:
    """To the last token; and a feature among them is not its own control."""
    texts = study._steering_of.texts[:4]
    one, other = (SteeringTable(lab.causal(), texts, 0) for _ in range(2))
    among, plain = lab.feature(written.file.features[0]), lab.feature(written.file.features[1])
    among = replace(among, index=one._others(among)[0])
    first, second = one.compare(among), one.compare(plain)
    again = other.compare(plain)
    assert not isinstance(first, str)
    assert not isinstance(second, str)
    assert not isinstance(again, str)
    assert again == second
    assert len(second.controls) == 4
    assert len(first.controls) == 3
    assert first.own in second.controls
    assert first.own not in first.controls


def test_own_contexts_are_those_harvested(written: Written, lab: Laboratory) -> None:
    """Their token ids are digested in the context's id, and the feature fires in all of them."""
    feature = written.file.features[0]
    found = own_contexts(written.file, feature)
    shown = ReportEvidence(written.file).report(feature, OWN).activating
    assert len(found) > 5
    assert [digest64(ids.tobytes()) for ids in found] == [excerpt.context.id for excerpt in shown]
    assert len(ablation(lab.causal(), lab.feature(feature), found).fired_in) == len(found)


def test_neutral_texts(written: Written, lab: Laboratory) -> None:
    """Beginnings of the pool's contexts of that split, as long as asked, none twice; refused without any."""
    subject, file = lab.causal(), written.file
    splits: tuple[Split, ...] = ("explain", "report")
    for split in splits:
        found = neutral_texts(file, split, n=5, length=8, seed=0)
        pool = ["".join(context.units) for context in file.pool(split, "token").contexts]
        begins = ["".join(token_names(subject, own.tolist())) for own in found]
        assert len(set(begins)) == 5
        assert all(len(own) == 8 for own in found)
        assert all(any(text.startswith(begin) for text in pool) for begin in begins)
    with pytest.raises(SubjectError, match="has no quiet contexts of 90 tokens"):
        neutral_texts(file, "explain", n=5, length=90, seed=0)


def test_an_encoder_has_no_output_side(tmp_path: Path) -> None:
    """It is said once, when the study is opened."""

    class Encoder:
        name = "bert"

        def causal(self) -> object:
            from exegete.subjects.causal import open_causal

            return open_causal(str(save("bert", tmp_path / "bert")))

    with pytest.raises(SubjectError, match="is an encoder"):
        OutputStudy.open(Encoder(), None, explainer=NOBODY, judge=NOBODY, seed=0)  # type: ignore[arg-type]


def test_a_model_that_says_nothing(written: Written, lab: Laboratory, study: OutputStudy) -> None:
    """Without a readable label there is no steering score; the tokens and the ablation stand."""
    mute = OutputStudy.open(lab, written.file, explainer=(FakeLLM("no"), "m"), judge=NOBODY, seed=0)
    found = asyncio.run(mute.study(written.file.features[0]))
    assert found.label is found.steering is None
    assert found.ablation.p_value == pytest.approx(1 / 51)
    assert found.interventions == (found.ablation,)
    assert set(output_rows("r", "h", written.file.features[0], found, NOON)) == {"outputs"}


@pytest.mark.usefixtures("few")
def test_a_model_writes_and_a_model_judges(written: Written, lab: Laboratory) -> None:
    """The writer is shown tokens and no text of the corpus; the judge is shown the label and the sets."""
    writer = FakeLLM(json.dumps({"label": 'promotes "fox"'}))
    judge = FakeLLM('{"set": 1}')
    told = OutputStudy.open(lab, written.file, explainer=(writer, "w"), judge=(judge, "j"), seed=0)
    told._steering_of = SteeringTable(lab.causal(), told._steering_of.texts[:8], 0)
    found = asyncio.run(told.study(written.file.features[0]))
    assert found.label is not None
    assert found.label.text == 'promotes "fox"'
    assert found.steering is not None
    assert found.steering.n_asked == 4 == len(judge.asked)
    shown = writer.asked[0].messages[0].text
    excerpts = ReportEvidence(written.file).report(written.file.features[0], OWN)
    assert not any(e.context.text.strip()[:20] in shown for e in excerpts.activating)


def test_rows(planted: list[OutputFindings], tmp_path: Path, written: Written) -> None:
    """What is found goes into the labels file as it is, and `outputs` and `scores` show it."""
    feature: FeatureId = written.file.features[0]
    found = planted[0]
    tables = output_rows("r", "h", feature, found, NOON)
    assert found.label is not None
    assert tables["labels"][0]["side"] == "output"
    assert tables["labels"][0]["label_id"] == label_id("h", found.label)
    store = Store(tmp_path / "labels.duckdb")
    store.insert(tables)
    rows = store.read("SELECT kind, top_tokens[1] AS first, details FROM outputs ORDER BY kind")
    assert [(row["kind"], row["first"]) for row in rows] == [
        ("ablation", "fox"),
        ("logit lens", "fox"),
        ("token change", "fox"),
    ]
    scores = store.read("SELECT scorer, side, value FROM scores ORDER BY scorer")
    assert [(row["scorer"], row["side"]) for row in scores] == [
        ("ablation@2", "output"),
        ("steering@1(lexical)", "output"),
    ]
    assert scores[0]["value"] == found.ablation.value


def test_the_movement_asked_for(planted: list[OutputFindings]) -> None:
    """What continuations were compared at stands with the score."""
    for found in planted:
        assert found.steering is not None
        assert found.steering.details["kl"] == KL
        up, down = (found.steering.details[f"shift_{side}"] for side in ("up", "down"))
        assert up is not None
        assert down is not None
        assert up > 0 > down
