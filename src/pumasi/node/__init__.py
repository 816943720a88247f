"""What each hospital runs inside its own walls: sources, workspaces, jobs, airlock and the one connection outwards."""
