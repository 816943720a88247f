"""De-identification as pure functions on values: usable alone, opens nothing that it was not handed."""
