"""The researcher's and the reviewers' side: keys of their own, a few commands, and the SDK for studies, which begins with `connect`."""

from pumasi.client.researcher import Researcher, connect

__all__ = ["Researcher", "connect"]
