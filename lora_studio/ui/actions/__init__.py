"""What pages may ask for, by name: plain functions of one `Ask`, without HTTP and without widgets.

hello, poll, vocabulary          status     what is loaded, what runs
bases, load_base                 bases      bases to choose from
make, cells, note ...            notebook   pictures and their cells
library, rename_adapter ...      library    LoRA files, and the list of embeddings
rename_embedding ...             embeddings textual-inversion embeddings
sets, caption ...                sets       pictures with captions
train, runs, resume ...          runs       trainings
recall_text, find_missing        recall     what made a picture
explain, styles, save_style ...  words      what a prompt says, styles
workbench, workbench_plan ...    workbench  LoRA files taken apart, converted, combined
"""

from __future__ import annotations

from lora_studio.ui.actions import bases, embeddings, library, notebook, recall, runs, sets, status, words, workbench
from lora_studio.ui.studio import Action


def actions() -> dict[str, Action]:
    """Every action by the name that pages call it."""
    rooms = (status, bases, notebook, library, embeddings, sets, runs, words, recall, workbench)
    return {action.__name__: action for room in rooms for action in room.ACTIONS}
