"""Text functions without other dependencies: normalization, language, n-grams, control tokens, redaction."""
