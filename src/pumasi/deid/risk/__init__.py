"""How risky a table is: who could be singled out by what others know of them, and what would then be learnt of them."""
