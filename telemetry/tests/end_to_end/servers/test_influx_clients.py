"""Unmodified InfluxDB clients against a real server: influxdb-client (for 2), influxdb (for 1), Telegraf's bytes."""

import gzip
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import influxdb
import pytest
from influxdb.exceptions import InfluxDBClientError
from influxdb_client import InfluxDBClient, Point  # type: ignore[attr-defined]
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions

from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, UVICORN, Server

pytestmark = [
    pytest.mark.e2e,
    # Warnings of the clients, which are not maintained for this Python.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module", params=UVICORN)
def server(request: Any, tmp_path_factory: Any) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    with Server(folder, uvicorn=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def mote(server: Server) -> str:
    return server.register("mote-1")


def history(server: Server, device_id: str = "mote-1") -> list[dict[str, Any]]:
    url = f"{server.url}/api/v1/devices/{device_id}/history?limit=10000&order=asc"
    results: list[dict[str, Any]] = httpx.get(url, headers={"X-API-Key": ADMIN_KEY}).json()["results"]
    return results


def test_influxdb_client_writes_points_and_in_batches(server: Server, mote: str) -> None:
    measured = datetime.now(UTC) - timedelta(hours=1)
    with InfluxDBClient(url=server.url, token=mote, org="any") as client:
        assert client.ping()
        point = Point("weather").tag("room", "a b, c").field("temperature", 21.25).field("rssi", -67)
        client.write_api(write_options=SYNCHRONOUS).write("any", record=point.field("note", 'say "x"').time(measured))
        with client.write_api(write_options=WriteOptions(batch_size=500)) as batches:
            for n in range(1_200):
                batches.write("any", record=Point("m").field("co2", n).time(measured + timedelta(seconds=n + 1)))

    stored = history(server)
    assert stored[0] | {"id": "", "seq": 1} == {
        "id": "",
        "seq": 1,
        "timestamp": measured.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "temperature": 21.25,
        "rssi": -67,
    }
    assert [reading["co2"] for reading in stored[1:]] == list(range(1_200))


def test_influxdb_client_hears_what_is_wrong(server: Server, mote: str) -> None:
    told = "partial write: unable to parse 'nonsense': missing fields"
    with InfluxDBClient(url=server.url, token=mote, org="any") as client, pytest.raises(InfluxDBError, match=told):
        client.write_api(write_options=SYNCHRONOUS).write("any", record="nonsense")
    with InfluxDBClient(url=server.url, token="wrong", org="any") as client:
        with pytest.raises(InfluxDBError) as refused:
            client.write_api(write_options=SYNCHRONOUS).write("any", record="a value=1")
        assert refused.value.response.status == 401


def test_home_assistant_writes_with_version_2(server: Server) -> None:
    """As its integration `influxdb` does it: an empty write as the test of the connection, then points as dicts."""
    server.register("living_room_temperature")
    with InfluxDBClient(url=server.url, token=FLEET_KEY, org="any", verify_ssl=True) as client:
        write = client.write_api(write_options=SYNCHRONOUS)
        write.write(bucket="any", record=b"")
        point: dict[str, Any] = {
            "measurement": "sensor__temperature",
            "tags": {"domain": "sensor", "entity_id": "living_room_temperature", "source": "HA"},
            "time": datetime.now(UTC),
            "fields": {"value": 21.5, "friendly_name_str": "Living room", "state_class_str": "measurement"},
        }
        write.write(bucket="any", record=[point])
    assert [reading["sensor__temperature"] for reading in history(server, "living_room_temperature")] == [21.5]


def test_influxdb_version_1_creates_its_database_and_writes(server: Server) -> None:
    server.register("v1")
    client = influxdb.InfluxDBClient("127.0.0.1", server.port, "any", FLEET_KEY, "any")
    assert client.ping()
    client.create_database("any")
    points: list[dict[str, Any]] = [
        {"measurement": "°C", "tags": {"entity_id": "v1"}, "fields": {"value": 21.5, "friendly_name_str": "Küche"}}
    ]

    assert client.write_points([])  # Home Assistant's test of the connection
    assert client.write_points(points)
    assert [reading["c"] for reading in history(server, "v1")] == [21.5]
    with pytest.raises(InfluxDBClientError, match="There is no device with this id"):
        client.write_points([points[0] | {"tags": {"entity_id": "ghost"}}])


def test_telegrafs_outputs_write_and_create_the_database(server: Server) -> None:
    """Requests in the form of Telegraf's outputs.influxdb_v2 and outputs.influxdb; Telegraf itself is not run."""
    server.register("telegraf-host")
    at = time.time_ns() - 10**10
    lines = f"system,host=telegraf-host load1=0.5,n_users=2i {at}\nmem,host=telegraf-host used_percent=40.1 {at}\n"
    sent = {"User-Agent": "Telegraf/1.34.0 Go/1.24.0", "Content-Type": "text/plain; charset=utf-8"}

    v2 = httpx.post(
        f"{server.url}/api/v2/write?bucket=any&org=any",
        content=gzip.compress(lines.encode()),
        headers=sent | {"Authorization": f"Token {FLEET_KEY}", "Content-Encoding": "gzip"},
    )
    created = httpx.post(f"{server.url}/query", data={"q": 'CREATE DATABASE "telegraf"'}, auth=("telegraf", FLEET_KEY))
    v1 = httpx.post(
        f"{server.url}/write?consistency=any&db=telegraf", content=lines, headers=sent, auth=("telegraf", FLEET_KEY)
    )

    assert [answer.status_code for answer in (v2, created, v1)] == [204, 200, 204]
    assert [reading["used_percent"] for reading in history(server, "telegraf-host")] == [40.1]  # the second is a repeat


def test_no_key_stays_in_the_servers_log(server: Server, mote: str) -> None:
    """Also where the doors that take keys in addresses are closed."""
    for path in (f"/api/v1/{mote}/telemetry", f"/write?db=a&u=b&p={mote}", "/api/v1/some-other-servers-key/telemetry"):
        assert httpx.post(f"{server.url}{path}", content="{}").status_code in (401, 404)

    log = server.log.read_text()
    assert mote[12:] not in log
    assert "some-other-servers-key" not in log
