"""Where the output of a job waits until people of this hospital have looked at it."""
