"""From a model to its score: answers to a benchmark, judged one by one."""
