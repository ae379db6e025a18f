"""Pure scoring: arrays of scores, statistics, the schema of `scores.json`, and the leaderboard."""
