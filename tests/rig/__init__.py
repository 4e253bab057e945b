"""Fixtures around the components of `rig`, and the tests that those start, answer and leave nothing behind."""
