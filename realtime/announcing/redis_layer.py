"""The channel layer on Redis, with methods that address many groups in one round trip.

It uses private parts of channels_redis: `telemetry/tests/unit/configuration/test_private_parts.py` fails when these
change.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from django.utils.crypto import salted_hmac

from realtime.announcing.layers import ServersLayer

# Returns those of the channels in ARGV[1], separated by spaces, that have a subscriber. It is a script because a commit
# can have a thousand devices, of which few are watched: with PUBSUB NUMSUB alone the client writes and reads every
# channel as a value of its own, which takes it 8 µs per channel. It asks in chunks because unpack() is limited.
HEARD = """
local names, heard = {}, {}
local function ask()
  local counts = redis.call('PUBSUB', 'NUMSUB', unpack(names))
  for place = 1, #counts, 2 do
    if counts[place + 1] > 0 then heard[#heard + 1] = counts[place] end
  end
  names = {}
end
for name in string.gmatch(ARGV[1], '%S+') do
  names[#names + 1] = name
  if #names == 1000 then ask() end
end
if #names > 0 then ask() end
return heard
"""


class ChannelLayer(RedisPubSubChannelLayer, ServersLayer):  # type: ignore[misc]  # channels has no types
    """channels_redis' pub/sub layer, with sends to many groups at a time.

    `group_send` costs one round trip per group, and a commit can have a thousand groups.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, prefix=f"telemetry-{installation()}.", **options)

    async def heard(self, groups: Collection[str]) -> set[str]:
        """Those of `groups` that have a listener in any process. Raises RedisError."""
        listened_to = set()
        for shard, channels in self.by_shard(groups).items():
            async with shard._lock:
                shard._ensure_redis()
                heard = shard._redis.register_script(HEARD)
                names = await heard(args=[" ".join(channels)])
            listened_to |= {channels[name.decode()] for name in names}
        return listened_to

    async def send_to_groups(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Does the same as `group_send` for each (group, message), in order, in one round trip per shard.

        Raises RedisError.
        """
        layer = self._get_layer()
        for shard in layer._shards:
            of_this_shard = [
                (channel, message)
                for group, message in messages
                if layer._get_shard(channel := layer._get_group_channel_name(group)) is shard
            ]
            if not of_this_shard:
                continue
            async with shard._lock:
                shard._ensure_redis()
                pipeline = shard._redis.pipeline(transaction=False)
                for channel, message in of_this_shard:
                    pipeline.publish(channel, self.serialize(message))
                await pipeline.execute()

    async def probe(self, *, seconds: float) -> dict[int, Exception]:
        """Publishes a message on every server at the same time; returns the error of each that does not take it.

        Servers are numbered by their place in REDIS_URL, from 0 on. It is no PING, because an account with ACLs may
        only publish.
        """
        layer = self._get_layer()

        async def publish(shard: Any) -> None:
            async with asyncio.timeout(seconds):
                shard._ensure_redis()
                # Not under the shard's lock, because a message that waits says nothing about the server.
                await shard._redis.publish(layer._get_group_channel_name("health"), b"")

        answers = await asyncio.gather(*map(publish, layer._shards), return_exceptions=True)
        return {server: error for server, error in enumerate(answers) if isinstance(error, Exception)}

    def by_server(self, groups: Collection[str]) -> dict[int, list[str]]:
        """The groups by the server that carries them: its place in REDIS_URL, from 0 on."""
        layer = self._get_layer()
        if len(layer._shards) == 1:
            return {0: list(groups)}
        servers: dict[int, list[str]] = defaultdict(list)
        for group in groups:
            shard = layer._get_shard(layer._get_group_channel_name(group))
            servers[layer._shards.index(shard)].append(group)
        return servers

    def by_shard(self, groups: Collection[str]) -> dict[Any, dict[str, str]]:
        """For each shard, its groups by the name of their Redis channel."""
        layer = self._get_layer()
        shards: dict[Any, dict[str, str]] = defaultdict(dict)
        for group in groups:
            channel = layer._get_group_channel_name(group)
            shards[layer._get_shard(channel)][channel] = group
        return shards


def installation() -> str:
    """A 16-character name that all processes of one installation share, and no other installation on the same Redis.

    It is derived from SECRET_KEY and the name of the database. The database number in a Redis URL does not separate
    installations, because Redis publishes messages to all database numbers.
    """
    database = str(settings.DATABASES["default"]["NAME"])
    return salted_hmac("realtime.layers", database, algorithm="sha256").hexdigest()[:16]
