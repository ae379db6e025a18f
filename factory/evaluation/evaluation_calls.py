"""How many calls an evaluation makes, before it makes them."""

from dataclasses import dataclass

from factory.config import RunConfig
from factory.evaluation.parity.checkout_texts import block_size
from factory.evaluation.run_benchmark import questions_per_task
from factory.personagym import Benchmark, all_questions


@dataclass(frozen=True)
class EvaluationCalls:
    """How many calls an evaluation makes."""

    personas: int
    questions: int
    answers: int
    """Of each candidate."""
    examples: int
    """Example replies to write; none of a frozen benchmark."""
    judgments: int
    """Calls of each judge for each candidate."""

    @classmethod
    def of(cls, config: RunConfig, benchmark: Benchmark) -> "EvaluationCalls":
        """Count the calls by reading the questions."""
        size, personas = block_size(config.evaluation), 0
        lengths = []
        for _, tasks in all_questions(benchmark, questions_per_task(config), config.evaluation.limit):
            personas += 1
            lengths += [len(listed) for listed in tasks.values()]
        blocks = sum(-(-length // size) for length in lengths)
        questions, draws = sum(lengths), config.evaluation.draws
        return cls(personas, questions, draws * questions, 0 if benchmark.frozen else questions, draws * blocks)
