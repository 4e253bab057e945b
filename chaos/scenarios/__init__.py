"""The scenarios, in their order. To add one, write its file, its configuration in `gateways/`, and its row here."""

from __future__ import annotations

from chaos.scenario import Scenario
from chaos.scenarios import (
    buffer_expiry_and_clock_skew,
    cascade,
    concurrent_updates,
    gateway_pod_restart,
    k8s_api_throttling,
    mixed_chaos,
    redis_master_failure,
    redis_memory_pressure,
    redis_network_partition,
)

ALL: tuple[Scenario, ...] = (
    redis_master_failure.SCENARIO,
    redis_network_partition.SCENARIO,
    k8s_api_throttling.SCENARIO,
    redis_memory_pressure.SCENARIO,
    buffer_expiry_and_clock_skew.SCENARIO,
    concurrent_updates.SCENARIO,
    gateway_pod_restart.SCENARIO,
    mixed_chaos.SCENARIO,
    cascade.SCENARIO,
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
