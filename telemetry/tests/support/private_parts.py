"""The private parts of libraries that the code uses or overrides, for `test_private_parts` in `unit/configuration`."""

from typing import NamedTuple


class Library(NamedTuple):
    """`versions`: for which somebody has compared `used_in` with the library's source.

    `parts`: a dotted name, and its parameters without `self` ("": none; None: it only has to exist).
    `names`: a function, and the attributes, globals and string keys that its code must mention.
    """

    versions: str
    used_in: str
    parts: dict[str, str | None]
    names: dict[str, str] = {}


CHANNEL = "twisted.web.http:HTTPChannel"
CONNECTION = "twisted.internet.tcp:Connection"
PORT = "twisted.internet.tcp:Port"
AUTOBAHN = "autobahn.websocket.protocol"
PUBSUB = "channels_redis.pubsub"
UVICORN_HTTP = "uvicorn.protocols.http.httptools_impl"
UVICORN_SOCKET = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
POSTGRESQL = "django.db.backends.postgresql.base:DatabaseWrapper"
SQLITE = "django.db.backends.sqlite3.base"

LIBRARIES = {
    "daphne": Library(
        ">=4.2,<4.3",
        "telemetry/server/daphne_http.py, daphne_websockets.py, draining.py and workers/worker.py",
        {
            "daphne.server:Server.run": "",
            "daphne.server:Server.listen_success": "port",
            "daphne.server:Server.kill_all_applications": "",
            "daphne.server:Server.handle_reply": "protocol message",
            "daphne.http_protocol:HTTPFactory.__init__": "server",
            "daphne.http_protocol:HTTPFactory.buildProtocol": "addr",
            "daphne.http_protocol:WebRequest.process": "",
            "daphne.http_protocol:WebRequest.handle_reply": "message",
            "daphne.ws_protocol:WebSocketProtocol.onConnect": "request",
            "daphne.ws_protocol:WebSocketProtocol.onClose": "wasClean code reason",
            "daphne.ws_protocol:WebSocketProtocol.serverSend": "content binary",
            "daphne.ws_protocol:WebSocketProtocol.serverClose": "code",
            "daphne.endpoints:build_endpoint_description_strings": "host port unix_socket file_descriptor",
        },
        {
            # It looks its factories up in its module, where ours are put.
            "daphne.server:Server.run": "HTTPFactory WebSocketFactory http_factory connections kill_all_applications "
            "endpoints ready_callable",
            "daphne.server:Server.create_application": "connections application_instance",
        },
    ),
    "Twisted": Library(
        ">=26.10,<27",
        "telemetry/server/daphne_http.py, daphne_websockets.py and draining.py",
        {
            f"{CHANNEL}.maxHeaders": None,
            f"{CHANNEL}.totalHeadersSize": None,
            f"{CHANNEL}._receivedHeaderSize": None,
            f"{CHANNEL}._receivedHeaderCount": None,
            f"{CHANNEL}._respondToBadRequestAndDisconnect": "",
            f"{CHANNEL}.allHeadersReceived": "",
            f"{CHANNEL}.allContentReceived": "",
            f"{CHANNEL}.requestDone": "request",
            f"{CHANNEL}.lineLengthExceeded": "line",
            f"{CHANNEL}.pauseProducing": "",
            f"{CHANNEL}.resumeProducing": "",
            f"{CHANNEL}.callLater": "period func",
            "twisted.web.http:HTTPFactory.timeOut": None,
            "twisted.web.http:Request.handleContentChunk": "data",
            f"{CONNECTION}.getHandle": "",
            f"{CONNECTION}.writeSomeData": "data",
            f"{CONNECTION}.abortConnection": "",
            f"{CONNECTION}.disconnecting": None,
            f"{CONNECTION}.registerProducer": "producer streaming",
            f"{CONNECTION}.unregisterProducer": "",
            f"{PORT}.doRead": "",
            f"{PORT}.connectionLost": "reason",
        },
        {
            f"{CHANNEL}.__init__": "requests",
            f"{PORT}.startListening": "socket numberAccepts",
            f"{PORT}.doRead": "numberAccepts",
        },
    ),
    "autobahn": Library(
        ">=26.10,<27",
        "telemetry/server/daphne_websockets.py",
        {
            f"{AUTOBAHN}:WebSocketProtocol.STATE_OPEN": None,
            f"{AUTOBAHN}:WebSocketProtocol.STATE_CLOSED": None,
            f"{AUTOBAHN}:WebSocketProtocol.sendData": "data sync chopsize",
            f"{AUTOBAHN}:WebSocketProtocol.sendCloseFrame": "code reasonUtf8 isReply",
            f"{AUTOBAHN}:PreparedMessage.__init__": "payload isBinary applyMask doNotCompress",
        },
        {
            f"{AUTOBAHN}:WebSocketServerFactory.setProtocolOptions": "maxFramePayloadSize failByDrop "
            "closeHandshakeTimeout",
            f"{AUTOBAHN}:WebSocketProtocol.sendFrame": "sendData",
        },
    ),
    "channels-redis": Library(
        ">=4.3,<4.4",
        "realtime/announcing/redis_layer.py",
        {
            f"{PUBSUB}:RedisPubSubChannelLayer._get_layer": "",
            f"{PUBSUB}:RedisPubSubChannelLayer.serialize": "message",
            f"{PUBSUB}:RedisPubSubLoopLayer._get_shard": "channel_or_group_name",
            f"{PUBSUB}:RedisPubSubLoopLayer._get_group_channel_name": "group",
            f"{PUBSUB}:RedisSingleShardConnection._ensure_redis": "",
        },
        {
            f"{PUBSUB}:RedisPubSubLoopLayer.__init__": "_shards prefix",
            f"{PUBSUB}:RedisSingleShardConnection.publish": "_lock _ensure_redis _redis",
        },
    ),
    "channels": Library(
        ">=4.3,<4.4",
        "realtime/consumers.py and realtime/announcing/receivers.py",
        {"channels.consumer:AsyncConsumer.__call__": "scope receive send"},
        {
            "channels.consumer:AsyncConsumer.send": "base_send",
            "channels.layers:InMemoryChannelLayer.__init__": "groups",
        },
    ),
    "uvicorn": Library(
        ">=0.54,<0.55",
        "telemetry/server/uvicorn_http.py and uvicorn_websockets.py",
        {
            f"{UVICORN_HTTP}:HttpToolsProtocol.__init__": "config server_state app_state _loop",
            f"{UVICORN_HTTP}:HttpToolsProtocol.handle_websocket_upgrade": "",
            f"{UVICORN_HTTP}:HttpToolsProtocol.on_message_begin": "",
            f"{UVICORN_HTTP}:HttpToolsProtocol.on_headers_complete": "",
            f"{UVICORN_HTTP}:HttpToolsProtocol.on_body": "body",
            f"{UVICORN_HTTP}:HttpToolsProtocol.on_message_complete": "",
            f"{UVICORN_HTTP}:HttpToolsProtocol.on_response_complete": "",
            f"{UVICORN_HTTP}:HttpToolsProtocol.send_400_response": "msg",
            f"{UVICORN_HTTP}:HttpToolsProtocol.pause_writing": "",
            f"{UVICORN_SOCKET}.run_asgi": "",
            f"{UVICORN_SOCKET}.send": "message",
        },
        {
            f"{UVICORN_HTTP}:HttpToolsProtocol.__init__": "loop transport client flow pipeline cycle headers",
            f"{UVICORN_HTTP}:HttpToolsProtocol.on_message_begin": "url headers",
            f"{UVICORN_HTTP}:RequestResponseCycle.__init__": "response_started response_complete",
            "uvicorn.protocols.http.flow_control:FlowControl.__init__": "write_paused",
            f"{UVICORN_SOCKET}.__init__": "loop transport conn ServerProtocol writable",
            "websockets.protocol:Protocol.__init__": "max_message_size",
        },
    ),
    "djangorestframework": Library(
        ">=3.18,<3.19",
        "readings/ingest/async_viewset.py, readings/ingest/views.py and devices/api/json.py",
        {
            "rest_framework.views:APIView.initialize_request": "request args kwargs",
            "rest_framework.views:APIView.finalize_response": "request response args kwargs",
            "rest_framework.views:APIView.handle_exception": "exc",
            "rest_framework.views:APIView.default_response_headers": None,
        },
        # The steps of a request that `AsyncViewSet.dispatch` repeats.
        {
            "rest_framework.views:APIView.dispatch": "initialize_request default_response_headers initial "
            "http_method_not_allowed handle_exception finalize_response",
            "rest_framework.views:APIView.permission_denied": "authenticators successful_authenticator",
            "rest_framework.views:APIView.initial": "determine_version perform_authentication check_permissions "
            "check_throttles",
            "rest_framework.viewsets:ViewSetMixin.initialize_request": "action_map action",
        },
    ),
    "Django": Library(
        ">=5.2,<5.3",
        "telemetry/databases, telemetry/console, telemetry/gateway and telemetry/middleware",
        {
            f"{POSTGRESQL}._close": "",
            f"{POSTGRESQL}._configure_connection": "connection",
            f"{POSTGRESQL}.get_new_connection": "conn_params",
            f"{POSTGRESQL}.pool": None,
            f"{POSTGRESQL}.close_pool": "",
            f"{SQLITE}:DatabaseWrapper._start_transaction_under_autocommit": "",
            f"{SQLITE}:DatabaseWrapper.create_cursor": "name",
            f"{SQLITE}:SQLiteCursorWrapper.execute": "query params",
            f"{SQLITE}:SQLiteCursorWrapper.executemany": "query param_list",
            "django.contrib.sessions.backends.base:SessionBase._validate_session_key": "key",
        },
        {f"{POSTGRESQL}.get_new_connection": "pool getconn", f"{POSTGRESQL}._close": "pool putconn"},
    ),
    "psycopg": Library(
        ">=3.3,<3.4",
        "telemetry/databases/postgresql/connections.py",
        {"psycopg:Connection.wait": "gen interval timeout"},
        # Every answer is awaited by `wait`, which has our deadline.
        {"psycopg:Connection.commit": "wait", "psycopg:Cursor.execute": "wait", "psycopg:Connection.close": "_pool"},
    ),
    "psycopg-pool": Library(
        ">=3.3,<3.4",
        "telemetry/databases/postgresql/pools.py",
        {"psycopg_pool:ConnectionPool.getconn": "timeout", "psycopg_pool:ConnectionPool.putconn": "conn"},
        # In which pool a connection belongs.
        {"psycopg_pool:ConnectionPool._getconn_unchecked": "_pool"},
    ),
    "drf-spectacular": Library(
        ">=0.30,<0.31",
        "telemetry/openapi/view.py",
        {"drf_spectacular.views:SpectacularAPIView._get_schema_response": "request"},
    ),
}
