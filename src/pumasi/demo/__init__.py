"""One story from application to deletion on synthetic hospitals. It makes data and calls public commands only."""
