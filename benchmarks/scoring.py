"""What scoring one feature costs beside the simulator: CPU time of both scorers.

    python benchmarks/scoring.py [--features 50]

60 excerpts of about 25 words, 2,000 replicates and 1,999 permutations. The simulator answers at once.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

import numpy as np

from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Floats, Label
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.simulation import SimulationScorer
from exegete.simulators.remembered import Remembered
from exegete.simulators.simulator import Simulation


class Instant:
    """Recalls levels made beforehand."""

    name = "instant@1"

    def __init__(self, levels: dict[int, Floats]) -> None:
        self._levels = levels

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Look the levels up."""
        return Simulation(tuple(self._levels[c.id] for c in contexts), (None,) * len(contexts))


def feature(index: int) -> tuple[Evidence, dict[int, Floats]]:
    """Evidence of one feature (10 strongest, 30 sampled, 20 quiet), and levels for it."""
    rng = np.random.default_rng(index)
    strata = ["top"] * 10 + [f"decile {d}" for d in range(10, 0, -1) for _ in range(3)] + ["quiet"] * 20
    excerpts, levels = [], {}
    for place, stratum in enumerate(strata):
        n = int(rng.integers(20, 31))
        firing = (rng.random(n) < 0.1) & (stratum != "quiet")
        activations = np.where(firing, rng.exponential(1.0, n), 0.0).astype(np.float32)
        context = Context(1000 * index + place, f"d{place}", 0, tuple(f" w{i}" for i in range(n)))
        excerpts.append(Excerpt(context, activations, stratum, 1.0))
        alarms = 5.0 * (rng.random(n) < 0.03)
        levels[context.id] = np.clip(np.round(3 * activations + alarms), 0, 10).astype(np.float32)
    name = FeatureId("tiny@1", "layers.3", "neurons", index)
    return Evidence(name, "report", tuple(excerpts[:40]), tuple(excerpts[40:]), "word", 5.0), levels


async def measure(n_features: int) -> tuple[float, float, float]:
    """CPU milliseconds: the first feature, and the median and 95th percentile of those after it."""
    spent = []
    for index in range(n_features + 1):
        evidence, levels = feature(index)
        simulator = Remembered(Instant(levels))
        label = Label(evidence.feature, "whatever", "benchmark")
        begun = time.process_time()
        for kind in (SimulationScorer, DetectionScorer):
            await kind(simulator, "report", 0.5, 0).score(label, evidence)
        spent.append(1000 * (time.process_time() - begun))
    return spent[0], float(np.median(spent[1:])), float(np.quantile(spent[1:], 0.95))


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description="What scoring one feature costs beside the simulator")
    parser.add_argument("--features", type=int, default=50)
    first, median, slow = asyncio.run(measure(parser.parse_args().features))
    print(
        f"first of its design {first:.1f} ms, then {median:.1f} ms (median), {slow:.1f} ms (95th percentile)"
    )


if __name__ == "__main__":
    main()
