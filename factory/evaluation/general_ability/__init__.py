"""General ability: instruction following and perplexity of a candidate without a persona."""
