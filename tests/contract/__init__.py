"""What stands in for something, and what speaks to it, held against the real thing."""
