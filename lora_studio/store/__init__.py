"""What is kept: one folder with a database, content-addressed files and their thumbnails.

`Workspace` opens the folder; its rooms are `files`, `jobs`, `adapters`, `datasets` and `notebooks`.
"""

from lora_studio.store.adapters import Adapters
from lora_studio.store.datasets import Datasets
from lora_studio.store.files import FileStore
from lora_studio.store.jobs import Jobs
from lora_studio.store.notebooks import Notebooks
from lora_studio.store.workspace import Workspace

__all__ = ["Adapters", "Datasets", "FileStore", "Jobs", "Notebooks", "Workspace"]
