"""Names of keys."""

from __future__ import annotations

from gateway.state.keys import Keys


def test_keys_of_a_shard_share_their_hash_tag() -> None:
    keys = Keys("gw:", 16)
    shard = keys.shard("prod/PodOOMKilled")

    tags = {
        key[key.index("{") : key.index("}") + 1]
        for key in (
            keys.queue(shard),
            keys.notes(shard),
            keys.sentinel(shard),
            keys.dead(shard),
            keys.record(shard, "f" * 64),
            keys.buffers(shard),
            keys.probe(shard),
            keys.window(shard, "w1"),
        )
    }
    assert tags == {f"{{{shard}}}"}
    assert len({keys.shard(f"ns-{number}/A") for number in range(200)}) == 16
