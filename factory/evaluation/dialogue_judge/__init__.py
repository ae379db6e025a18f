"""A judge as a rule of curation: its verdicts on dialogues, and the check that it must pass first."""
