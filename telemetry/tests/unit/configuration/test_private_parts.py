"""The private parts of libraries that the code uses or overrides are still as it expects.

Their libraries do not document them, so a new version can change them without a notice. A test that fails here names
the module that has to be read before the new version can be used.
"""

import ast
import asyncio
import inspect
import pkgutil
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from autobahn.websocket.protocol import PreparedMessage
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.middleware import get_user
from django.http import HttpRequest
from packaging.specifiers import SpecifierSet
from rest_framework.request import Request

from telemetry.tests.support.private_parts import LIBRARIES

pytestmark = pytest.mark.once

BASE = Path(settings.BASE_DIR)

# Private by their name alone: documented parts of the standard library and of Django.
PUBLIC = {"_meta", "_replace", "_default_manager"}
# Checked by a test of their own below, or by a row above.
PRIVATE = {
    "_authenticator",
    "_cached_user",
    "_close",
    "_configure_connection",
    "_ensure_redis",
    "_get_group_channel_name",
    "_get_layer",
    "_get_schema_response",
    "_get_shard",
    "_lock",
    "_pool",
    "_receivedHeaderCount",
    "_receivedHeaderSize",
    "_redis",
    "_registry",
    "_request",
    "_respondToBadRequestAndDisconnect",
    "_shards",
    "_start_transaction_under_autocommit",
    "_validate_session_key",
}


def found(name: str) -> Any:
    """What a dotted name stands for; an attribute of an instance is looked for in one without arguments."""
    try:
        return pkgutil.resolve_name(name)
    except AttributeError:
        owner, _, attribute = name.rpartition(".")
        return getattr(pkgutil.resolve_name(owner)(), attribute)


def advice(library: str) -> str:
    known = LIBRARIES[library]
    return (
        f"{library} {version(library)} has changed a private part. Compare {known.used_in} with the library's source, "
        "correct it, then correct telemetry/tests/support/private_parts.py."
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_version_is_one_that_was_compared(library):
    versions = LIBRARIES[library].versions

    assert version(library) in SpecifierSet(versions), (
        f"{library} {version(library)} is not in {versions}. Compare {LIBRARIES[library].used_in} with its source, "
        "then widen the range in telemetry/tests/support/private_parts.py."
    )


@pytest.mark.parametrize(
    ("library", "name"), [(library, name) for library in LIBRARIES for name in LIBRARIES[library].parts]
)
def test_the_part_exists_with_the_expected_parameters(library, name):
    try:
        part = found(name)
    except (AttributeError, ImportError, TypeError) as error:
        pytest.fail(f"{name} does not exist ({error}). {advice(library)}")
    expected = LIBRARIES[library].parts[name]
    if expected is not None:
        parameters = [parameter for parameter in inspect.signature(part).parameters if parameter != "self"]
        assert parameters == expected.split(), f"{name} has other parameters. {advice(library)}"


@pytest.mark.parametrize(
    ("library", "name"), [(library, name) for library in LIBRARIES for name in LIBRARIES[library].names]
)
def test_the_code_mentions_what_ours_relies_on(library, name):
    function = inspect.unwrap(found(name))
    assert isinstance(function, FunctionType)
    code = function.__code__
    constants = {constant for constant in code.co_consts if isinstance(constant, str)}
    mentioned = {*code.co_names, *code.co_varnames, *code.co_freevars, *constants}

    missing = set(LIBRARIES[library].names[name].split()) - mentioned

    assert not missing, f"{name} does not mention {', '.join(sorted(missing))}. {advice(library)}"


def test_an_authenticator_that_is_set_decides_between_401_and_403():
    request: Any = Request(HttpRequest(), authenticators=[])

    request.user, request.auth = "user", "caller"
    request._authenticator = None
    assert request.successful_authenticator is None, advice("djangorestframework")

    request._authenticator = found
    assert request.successful_authenticator is found, advice("djangorestframework")
    assert (request.user, request.auth) == ("user", "caller"), advice("djangorestframework")


def test_the_request_of_django_is_in_the_request_of_drf():
    inner = HttpRequest()

    assert Request(inner)._request is inner, advice("djangorestframework")


def test_the_account_of_a_session_is_kept_in_the_request():
    request: Any = HttpRequest()
    request._cached_user = "account"

    assert get_user(request) is request._cached_user, advice("Django")


def test_the_admin_site_has_a_registry_of_models():
    assert AdminSite()._registry == {}, advice("Django")


def test_a_shard_of_the_channel_layer_has_a_client_and_a_lock():
    async def layer_and_shard():
        layer = RedisPubSubChannelLayer(hosts=["redis://127.0.0.1:1", "redis://127.0.0.1:2"], prefix="installation.")
        inner = layer._get_layer()
        shard = inner._get_shard(channel := inner._get_group_channel_name("group"))
        async with shard._lock:
            shard._ensure_redis()
        assert channel.startswith("installation.")
        assert shard in inner._shards
        assert len(inner._shards) == 2
        for method in ("register_script", "pipeline"):
            assert hasattr(shard._redis, method), advice("channels-redis")
        await shard.flush()

    asyncio.run(layer_and_shard())


def test_a_prepared_message_is_the_frame_of_its_text():
    prepared = PreparedMessage(b"text", isBinary=False, applyMask=False, doNotCompress=True)

    assert bytes(prepared.payloadHybi) == b"\x81\x04text", advice("autobahn")


def test_every_private_part_in_the_code_is_known():
    used: dict[str, str] = {}
    for package in ("telemetry", "devices", "readings", "realtime"):
        for path in sorted((BASE / package).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.relative_to(BASE).parts):
                used.update(dict.fromkeys(private_names(ast.parse(path.read_text())), str(path)))

    unknown = {name: path for name, path in used.items() if name not in PUBLIC | PRIVATE}
    assert unknown == {}, "A private part of a library is used without a test: add it to this module."
    assert used.keys() >= PRIVATE, "Parts that no module uses any more: take them out of this module."


def private_names(tree: ast.AST) -> set[str]:
    """The private names that a module takes from objects or overrides, without those that it defines itself."""
    nodes = list(ast.walk(tree))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    taken = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    # getattr(object, "_name")
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"]
    taken |= {str(node.args[1].value) for node in calls if isinstance(node.args[1], ast.Constant)}
    names = (taken - defined) | (defined & PRIVATE)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}
