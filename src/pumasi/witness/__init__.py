"""A witness of logs for whoever is no member: it cosigns heads that only grow (C2SP tlog-witness), and asks nothing else of them."""
