"""The character factory: personas in, a role-playing language model and its score out."""

__version__ = "0.1.0"
