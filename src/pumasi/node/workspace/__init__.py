"""Encrypted workspaces: what one permit lets a study see at one hospital, from the extract to the proof that it is gone."""
