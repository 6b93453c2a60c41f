"""The command line: the same jobs without a browser.

`options` and its kin say what can be given, `train`, `generate` and `serve` do it, `given` finds the LoRA that a text
means, `app` turns arguments into calls and errors into exit codes, `follow` waits for a job and tells how it goes,
`files` writes results. It sees the engine through its protocol only: the composition root hands in the functions that
build an engine and serve the page.
"""

from lora_studio.cli.app import main

__all__ = ["main"]
