"""Makes metric names from the names that other programs use: columns of CSV files, fields of other protocols."""

import re
import unicodedata
from collections.abc import Collection

from devices.metrics import RESERVED

SYMBOLS = {"%": " percent ", "µ": "u", "μ": "u", "ß": "ss", "ø": "o", "Ø": "O"}
WORD_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])")
NAME_CHARACTERS = 63


def folded(name: str, *, reserved: Collection[str] = RESERVED) -> str:
    """The name as a metric name: `Temp (°C)` becomes `temp_c`, `PM2.5` becomes `pm2_5`.

    `reserved`: names that get the prefix `x_`, as does a name that does not begin with a letter.
    """
    for symbol, word in SYMBOLS.items():
        name = name.replace(symbol, word)
    name = unicodedata.normalize("NFKD", WORD_BORDER.sub("_", name)).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "value"
    if not name[0].isalpha() or name in reserved:
        name = f"x_{name}"
    return name[:NAME_CHARACTERS].rstrip("_")
