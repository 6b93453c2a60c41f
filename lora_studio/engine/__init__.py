"""The engine: one boundary (`protocol`), whose turn it is (`arbiter`), and who runs it (`worker`, `inline`)."""
