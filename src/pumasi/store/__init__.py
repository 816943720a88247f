"""Where a party keeps what it signed, what the log says, and the keys that can be destroyed."""
