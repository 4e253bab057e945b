"""State machines: any order of what can happen, against the real scripts on a real Redis."""
