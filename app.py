"""`python app.py`: the studio in a browser, the same as `python -m lora_studio serve`. See `--help`."""

from __future__ import annotations

import sys

from lora_studio.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
