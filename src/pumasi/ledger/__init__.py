"""The shared log: its tree, its signed heads, the proof of a whole case, and the one file that checks it."""
