"""Scores by stratum of the personas: whether a model plays the immoral ones as well as the others."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from factory.evaluation.scoring.comparisons import Judged
from factory.evaluation.scoring.intervals import summarize
from factory.evaluation.scoring.pscore import persona_std, pscore_values
from factory.evaluation.scoring.score_arrays import cells_of
from factory.evaluation.scoring.scores_schema import StratumScores, TaskScore
from factory.personagym import Benchmark
from factory.records import content_id

MAX_VALUES = 20
"""Of a trait; only the most frequent are shown, as a name or a town is no stratum."""


def score_strata(benchmark: Benchmark, judged: Judged, candidates: Sequence[str]) -> list[StratumScores]:
    """Return the PScores of each candidate over the personas of each stratum, by trait and descending size.

    Args:
        benchmark: it has the strata of its personas.
        judged: the means over judges that candidates are ranked by, (candidates, answers).
        candidates: their names, in the order of `judged`.
    """
    if not benchmark.strata:
        return []
    by_id = {content_id(persona): strata for persona, strata in benchmark.strata.items()}
    strata = [by_id.get(persona_id, {}) for persona_id in judged.arrays.persona_ids]
    cells = cells_of(judged.arrays, judged.means)
    found = []
    for trait in dict.fromkeys(trait for one in strata for trait in one):
        values = Counter(one[trait] for one in strata if trait in one)
        for value, personas in sorted(values.most_common(MAX_VALUES), key=lambda item: (-item[1], item[0])):
            chosen = np.array([one.get(trait) == value for one in strata])
            pscores = {
                name: _pscore(cells[number][chosen], judged.seed)
                for number, name in enumerate(candidates)
                if not judged.blank[number]
            }
            found.append(StratumScores(trait=trait, value=value, personas=personas, pscores=pscores))
    return found


def _pscore(cells: np.ndarray, seed: int) -> TaskScore:
    return TaskScore.model_validate(summarize(pscore_values(cells), seed, std=persona_std(cells)))
