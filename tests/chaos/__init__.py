"""The rehearsals themselves: their oracle and reports, that they pass, and that each notices what it is there for."""
