"""Measurements against the best peer: another library's time for the same result, or a physical limit of this machine."""
