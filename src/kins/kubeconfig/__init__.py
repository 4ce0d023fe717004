"""The user's kubeconfig by kubectl's own rules: which files, which of them is written, locks, modes, unknown fields.

How we differ from client-go (tools/clientcmd):

| client-go                                        | here                                                        |
|--------------------------------------------------|-------------------------------------------------------------|
| writes one file per changed stanza, not atomically | one write per file, through a temporary file and a rename  |
| fails at once when a lock file is there          | waits for it a few seconds, then names it                   |
| drops fields it does not know                    | keeps them                                                  |
"""

from kins.kubeconfig.document import dump, write_private
from kins.kubeconfig.entry import Entry, build, template
from kins.kubeconfig.merging import merge, remove

__all__ = ["Entry", "build", "dump", "merge", "remove", "template", "write_private"]
