"""The one-file HTML report: what may be claimed, and everything it rests on."""
