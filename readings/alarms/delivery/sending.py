"""Sends one message to one channel."""

from datetime import datetime

import msgspec

from devices.times import rfc3339
from readings.alarms.delivery.senders import apprise_channel, mail
from readings.alarms.delivery.senders.answers import Answer
from readings.alarms.delivery.texts import APPRISE_KINDS, Content, json_of, text_of, title_of
from readings.alarms.models import Channel, ChannelKind, MessageType
from readings.log.ids import uuid7

TEST_TITLE = "Test message"


class Post(msgspec.Struct, frozen=True):
    """A message in the form of every kind of channel. `apprise_kind`: of Apprise's kinds."""

    id: str
    body: bytes
    title: str
    text: str
    apprise_kind: str


def post_of(content: Content) -> Post:
    resolved = content.type == MessageType.RESOLVED
    return Post(
        id=str(content.id),
        body=msgspec.json.encode(json_of(content)),
        title=title_of(content),
        text=text_of(content),
        apprise_kind="success" if resolved else APPRISE_KINDS[content.rule.severity],
    )


def trial_post(channel: Channel, *, now: datetime) -> Post:
    text = f'This is a test of the channel "{channel.name}". Messages about alarms will arrive here.'
    body = {"type": "channel.test", "timestamp": rfc3339(now), "data": {"channel": channel.name, "summary": text}}
    return Post(str(uuid7()), msgspec.json.encode(body), TEST_TITLE, text, "info")


def send(channel: Channel, post: Post, *, now: datetime) -> Answer:
    """One try. Takes at most about TRY_SECONDS, without the database."""
    match channel.kind:
        case ChannelKind.EMAIL:
            return mail.send(channel.target, subject=post.title, body=post.text, message_id=post.id)
        case ChannelKind.WEBHOOK:
            from readings.alarms.delivery.senders import webhook  # here, because httpx takes 3 MB of every process

            return webhook.post(channel.target, post.body, message_id=post.id, secret=channel.secret, now=now)
    return apprise_channel.send(channel.target, title=post.title, body=post.text, kind=post.apprise_kind)
