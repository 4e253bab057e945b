"""Each rule of the protocol, taken out, is noticed: that is how we know that the simulation still sees."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_missing_rule_is_caught(mutant: Mutant) -> None:
    assert mutant.caught() is not None, f"{mutant.seeds} seeds did not notice: {mutant.name}"
