"""The base's tokenizer as the function that `lora_studio.prompt.chunks` is handed.

It works on a copy of its own: transformers sets truncation and padding on the tokenizer itself at each call, and the
Rust object behind it refuses a change while another thread reads ("Already borrowed").

It does not know begin, end and padding, nor what the tokens are for.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

from transformers import CLIPTokenizer

from lora_studio.prompt.chunks import Token, Tokenize

_HALVES = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, which a page can send and no tokenizer takes."""


def token_reader(tokenizer: CLIPTokenizer) -> Tokenize:
    """A function that gives tokens with their places; any number of threads may call it at once."""
    own = copy.deepcopy(tokenizer.backend_tokenizer)
    own.no_truncation()
    own.no_padding()

    def tokenize(text: str) -> Sequence[Token]:
        """The tokens of `text`, places in characters of it."""
        found = own.encode(_HALVES.sub("\ufffd", text), add_special_tokens=False)
        return [Token(number, *place) for number, place in zip(found.ids, found.offsets, strict=True)]

    return tokenize
