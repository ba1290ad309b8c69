"""PII: our own corpus, and the proof that nbgov finds in it what stock Presidio finds."""
