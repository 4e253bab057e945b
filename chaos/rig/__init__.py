"""Real components on loopback: what starts them, what ends them, and where their programs come from.

Tests and rehearsals both run on them; no promise about the gateway is tested here. A component is the real program,
never a stand-in. Each listens on ports of its own, so that parallel runs do not disturb each other, and each ends
with its run whatever happens to that (`processes`).

`tools` says where every program comes from, and builds and caches those that are built. Fixtures around them are in
`tests/rig/fixtures`. Nothing here imports the gateway, which is one of the programs, nor `chaos`, nor the tests.
"""
