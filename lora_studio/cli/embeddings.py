"""`generate --embedding FILE`: embeddings are taken into the library before pictures are made.

It does not know prompts: a picture's prompt names an embedding, and the library finds it by that name.
"""

from __future__ import annotations

import os
from pathlib import Path

from lora_studio.cli.follow import Teller, follow, spec
from lora_studio.engine.protocol import Engine
from lora_studio.errors import NotFound
from lora_studio.store import Workspace
from lora_studio.types import embedding_name


def find_file(given: str) -> Path:
    """The file that one `--embedding` names.

    Raises:
        InvalidInput: it is of a kind that holds no embedding.
        NotFound: there is no such file.
    """
    path = Path(given).expanduser()
    embedding_name(path.name)
    if not os.path.isfile(path):
        why = "is a folder" if os.path.isdir(path) else "does not exist"
        raise NotFound(
            f"The embedding file {given!r} {why}; give a file that is there.",
            code="embedding_no_file",
            given=given,
        )
    return path


def bring_in(engine: Engine, workspace: Workspace, path: Path, teller: Teller) -> str:
    """Enter a file into the library; the name by which prompts find it, told where it is not the file's own.

    Raises:
        EmbeddingRefused: it is damaged, or does not fit the base.
    """
    wanted = embedding_name(path.name)
    stored = workspace.files.put_file(path)
    result = follow(engine, engine.submit(spec("import_embedding", {"file": stored, "name": wanted})), teller)
    name = str(result["name"])
    for warning in result["warnings"]:
        teller.say(f"note: {warning['message']}")
    if name != wanted:
        teller.say(f"note: the embedding {str(path)!r} is called {name!r} in the library; write that in prompts")
    return name
