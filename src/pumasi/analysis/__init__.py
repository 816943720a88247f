"""Both halves of every federated method: what one hospital adds up, and what the sum of all hospitals means. Pure."""
