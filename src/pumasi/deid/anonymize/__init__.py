"""The best generalisation of a table under privacy models: exact search over the lattice, or local recoding."""
