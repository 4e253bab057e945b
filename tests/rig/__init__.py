"""Real components for tests, on loopback: what starts them, what ends them, and where their programs come from.

Here belong processes and the fixtures around them; no promise about the gateway is tested here. A component is the
real program, never a stand-in. Each listens on ports of its own, so that parallel test runs do not disturb each other,
and each ends with the test run whatever happens to that (`processes`).

`tools` says where every program comes from, and builds and caches those that are built; `fixtures` is the pytest
plugin.
"""
