"""A study tried out on a researcher's own copies or made-up data: every hospital in one process, with the code of the nodes."""
