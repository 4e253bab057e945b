"""The local way: real processes on loopback, and no cluster. It needs what `make tools` builds."""
