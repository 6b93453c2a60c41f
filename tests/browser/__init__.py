"""The page in Chromium, on an engine in a process of its own."""
