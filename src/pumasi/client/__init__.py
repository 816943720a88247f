"""The researcher's and the reviewers' side: keys of their own, a few commands, and the SDK for studies."""
