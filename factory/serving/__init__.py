"""Models on Ray Serve behind one OpenAI-compatible endpoint, for judges and the playground."""
