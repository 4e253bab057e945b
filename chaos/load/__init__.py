"""Load campaigns, and the proof that they leave."""
