"""Jobs: code that works on a workspace, always inside the sandbox."""
