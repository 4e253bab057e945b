"""The yardstick: every figure is a ratio of two things measured in one run, alternating, on the same machine."""
