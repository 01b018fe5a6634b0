"""The channel layer on Redis, and what announcing to many groups at a time needs of it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from django.utils.crypto import salted_hmac


class ChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # channels has no types
    """`group_send` costs a round trip a group, one after the other; a commit may have a thousand groups to tell."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, prefix=f"telemetry-{installation()}.", **options)

    async def heard(self, groups: Collection[str]) -> set[str]:
        """Those of these groups that somebody listens to, in any process. Raises RedisError."""
        listened_to = set()
        for shard, channels in self.by_shard(groups).items():
            async with shard._lock:
                shard._ensure_redis()
                counts = await shard._redis.pubsub_numsub(*channels)
            listened_to |= {channels[name.decode()] for name, listeners in counts if listeners}
        return listened_to

    async def send_to_groups(self, messages: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """As `group_send` of each message to its group, in order, in one round trip. Raises RedisError."""
        layer = self._get_layer()
        for shard in layer._shards:
            ours = [
                (channel, message)
                for group, message in messages
                if layer._get_shard(channel := layer._get_group_channel_name(group)) is shard
            ]
            if not ours:
                continue
            async with shard._lock:
                shard._ensure_redis()
                pipeline = shard._redis.pipeline(transaction=False)
                for channel, message in ours:
                    pipeline.publish(channel, self.serialize(message))
                await pipeline.execute()

    def by_shard(self, groups: Collection[str]) -> dict[Any, dict[str, str]]:
        """For each shard the Redis channels of its groups, and whose they are."""
        layer = self._get_layer()
        shards: dict[Any, dict[str, str]] = defaultdict(dict)
        for group in groups:
            channel = layer._get_group_channel_name(group)
            shards[layer._get_shard(channel)][channel] = group
        return shards


def installation() -> str:
    """What the processes of one installation have in common, and with no other on the same Redis.

    The number in a Redis address keeps nobody apart: published messages know no databases.
    """
    database = str(settings.DATABASES["default"]["NAME"])
    return salted_hmac("realtime.layers", database, algorithm="sha256").hexdigest()[:16]
