"""The paper's own evaluation: its messages, its blocks of questions, its parser and its way of counting."""
