"""Best of n: a judge compares the replies to one assignment, and the winner becomes the dialogue."""
