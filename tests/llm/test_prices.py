"""What a call costs, and when that is not known."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import UsageError
from exegete.llm.prices import Price, Prices, load_prices
from exegete.llm.size import likely_tokens, most_tokens
from tests.llm.fakes import reply, request

ROW = {"match": ("a:m",), "input": 2.0, "output": 10.0, "cached_input": 0.2, "cache_write": 2.5, "batch": 0.5}


def table(*rows: dict[str, Any]) -> Prices:
    """A table of rows that differ from a usual one."""
    return Prices("v", [Price(**(ROW | row)) for row in rows])


def test_by_hand() -> None:
    """Fresh, cached, written and output tokens each at their price; half of it in a batch."""
    paid = reply(input_tokens=1000, output_tokens=100, cached_tokens=600, cache_write_tokens=300)
    usd = (100 * 2.0 + 600 * 0.2 + 300 * 2.5 + 100 * 10.0) / 1e6
    assert table({}).cost("a:m", paid) == pytest.approx(usd, rel=1e-12)
    assert table({}).cost("a:m", paid, batch=True) == pytest.approx(usd / 2, rel=1e-12)


@pytest.mark.parametrize("missing", ["input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"])
def test_what_a_reply_does_not_say(missing: dict[str, None]) -> None:
    """A count that matters and is missing makes the cost unknown, never 0 and never too small."""
    counts = {"input_tokens": 5, "output_tokens": 5, "cached_tokens": 0, "cache_write_tokens": 0}
    assert table({}).cost("a:m", reply(**counts)) is not None
    assert table({}).cost("a:m", reply(**(counts | {missing: None}))) is None


def test_counts_that_do_not_matter() -> None:
    """Where cached tokens cost what all do, nobody has to say how many there were."""
    assert table({"cached_input": None, "cache_write": None}).cost(
        "a:m", reply(input_tokens=10, output_tokens=0)
    ) == pytest.approx(20e-6)


def test_unknown() -> None:
    """No row, a request longer than the row is for, or a batch without a factor: unknown."""
    paid = reply(input_tokens=10, output_tokens=0, cached_tokens=0, cache_write_tokens=0)
    assert table({}).cost("a:other", paid) is None
    assert table({"up_to": 9}).cost("a:m", paid) is None
    assert table({"up_to": 10}).cost("a:m", paid) is not None
    assert table({"batch": None}).cost("a:m", paid, batch=True) is None
    assert table({}).most("a:other", 1, 1) is None


def test_first_row_that_fits() -> None:
    """Rows are tried in order: by pattern, then by length."""
    prices = table(
        {"match": ("a:m@http://*",), "input": 1.0},
        {"up_to": 100, "input": 3.0},
        {"match": ("a:*",), "input": 7.0},
    )
    asked = (("a:m@http://h/v1", 500), ("a:m", 100), ("a:m", 101), ("b:m", 1))
    rows = [prices.find(*one) for one in asked]
    assert [row and row.input for row in rows] == [1.0, 3.0, 7.0, None]


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts)
def test_most_is_most(fresh: int, cached: int, written: int, output: int) -> None:
    """No reply costs more than the most that so many tokens can cost."""
    total = fresh + cached + written
    paid = reply(input_tokens=total, output_tokens=output, cached_tokens=cached, cache_write_tokens=written)
    for row in ({}, {"cached_input": 5.0}, {"cache_write": None}, {"cached_input": None, "cache_write": 0.0}):
        cost, most = table(row).cost("a:m", paid), table(row).most("a:m", total, output)
        assert cost is not None
        assert most is not None
        assert cost <= most * (1 + 1e-12)


def test_built_in() -> None:
    """Every row says where and when its prices were read, and caches cost no more than twice the input."""
    prices = load_prices()
    assert date.fromisoformat(prices.version)
    for row in prices.rows:
        assert row.seen is not None
        assert row.source.startswith("https://") or row.match in (("scripted:*",), ("hf:*",))
        assert row.seen <= date.fromisoformat(prices.version)
        assert row.input <= row.output
        assert (row.cached_input or 0) <= row.input <= (row.cache_write or row.input) <= 2 * row.input
    assert prices.cost("scripted:any.jsonl#12345678", reply()) == 0.0
    assert prices.cost("openai:gpt-5-nano@http://localhost/v1", reply(cached_tokens=0)) is None


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    """A user's rows go before ours, and the version says whose they were and which."""
    path = tmp_path / "prices.toml"
    path.write_text('version = "mine"\n[[price]]\nmatch = ["openai:gpt-5-nano"]\ninput = 1\noutput = 1\n')
    prices = load_prices(path)
    assert prices.cost("openai:gpt-5-nano", reply(input_tokens=1, output_tokens=1)) == pytest.approx(2e-6)
    assert prices.find("openai:gpt-6-sol") == load_prices().find("openai:gpt-6-sol")
    first = prices.version
    assert first.startswith("mine#")
    assert first.endswith(f" over {load_prices().version}")
    path.write_text(path.read_text() + "\n# edited")
    assert load_prices(path).version != first


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version = ", "no TOML"),
        ("[[price]]", "version"),
        ('version = "v"\n[[price]]\nmatch = []\ninput = 1\noutput = 1', "price.0.match"),
        ('version = "v"\n[[price]]\nmatch = ["a"]\ninput = -1\noutput = 1', "price.0.input"),
        ('version = "v"\n[[price]]\nmatch = ["a"]\ninput = nan\noutput = 1', "price.0.input"),
        ('version = "v"\n[[price]]\nmatch = ["a"]\ninput = 1', "price.0.output"),
        (
            'version = "v"\n[[price]]\nmatch = ["a"]\ninput = 1\noutput = 1\nbach = 1',
            "price.0.bach",
        ),
    ],
)
def test_no_table(tmp_path: Path, text: str, says: str) -> None:
    """What is no table of prices is refused, saying where; a misspelt word is not passed over."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        load_prices(path)
    with pytest.raises(UsageError, match="can't read"):
        load_prices(tmp_path / "none.toml")


@given(st.text(max_size=200), st.text(max_size=50))
def test_sizes(text: str, system: str) -> None:
    """The likely size is within the most there can be, which no byte-level tokeniser exceeds."""
    asked = request(text, system=system, schema={"title": "T", "type": "object"})
    assert 1 <= likely_tokens(asked) <= most_tokens(asked)
    assert most_tokens(asked) >= len((text + system).encode("utf-8", "surrogatepass"))
