"""Where the data of a system on one machine lie. It imports nothing, since every command asks it."""

import os
from collections.abc import Mapping
from pathlib import Path


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return `$LUXOR_DATA_DIR`, else for root /var/lib/luxor, else `$XDG_DATA_HOME/luxor`, else ~/.local/share/luxor."""
    if chosen := environ.get("LUXOR_DATA_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/luxor")
    if home := environ.get("XDG_DATA_HOME"):
        return Path(home) / "luxor"
    return Path.home() / ".local" / "share" / "luxor"
