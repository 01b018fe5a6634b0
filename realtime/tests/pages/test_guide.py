"""`/guide`: the documents as pages for anyone, without internet access, and the code examples for devices."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from devices.models import Device
from readings.models import Reading
from realtime.pages.markdown import FOLDER, PAGES, markdown, snippets

pytestmark = [pytest.mark.django_db, pytest.mark.once]

ARDUINO = Path(__file__).parents[1] / "arduino"


def code(title, key="tlm_secret"):
    found = snippets(address="http://10.1.2.3:8000", key=key, device_id="m1")
    return next(s.code for s in found if s.title == title)


@pytest.mark.parametrize("page", PAGES)
def test_anyone_may_read_it_and_it_leads_nowhere_that_is_not(anyone, page):
    response = anyone.get(f"/guide/{page}")
    assert response.status_code == 200
    html = response.content.decode()
    article = html[html.index("<article") : html.index("</article>")]
    for link in re.findall(r'href="([^"]+)"', article):
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in article, link
        elif link.startswith("/"):
            assert anyone.get(link.partition("#")[0]).status_code in (200, 302), link
        else:
            assert link.startswith("https://"), link


def test_it_begins_with_the_quick_start(anyone):
    for path in ("/guide", "/guide/", "/guide/quick-start/"):
        assert "<h1>Quick start</h1>" in anyone.get(path).content.decode()


def test_a_page_that_is_not_there_is_none(anyone):
    assert anyone.get("/guide/nowhere").status_code == 404


def test_it_names_this_server_where_the_documents_have_an_example(anyone):
    page = anyone.get("/guide/live").content.decode()
    assert "ws://testserver/api/v1/realtime/subscribe/" in page
    for path in ("connect", "http-api", "recipes"):
        page = anyone.get(f"/guide/{path}").content.decode()
        assert "http://testserver/api/v1/" in page
        assert "telemetry.example.org/" not in page


def test_what_is_in_a_document_is_text():
    assert "<script>" not in markdown.render("<script>alert(1)</script>")


def test_there_is_code_for_every_kind_of_device_with_the_address_and_the_key_in_it(settings):
    settings.MQTT_PORT = 18_831
    found = snippets(address="http://10.1.2.3:8000", key="tlm_secret", device_id="m1")
    mqtt = ["MQTT", "MQTT with Python", "MQTT with Arduino", "Tasmota", "ESPHome with MQTT"]
    own = ["curl", "Python", "Arduino", "MicroPython", "ESPHome", "Home Assistant"]
    doors = ["Telegraf", "Home Assistant (InfluxDB)", "The Things Stack", "InfluxDB client"]
    assert [s.title for s in found] == [*own[:5], *mqtt, *own[5:], *doors]
    for snippet in found:
        if snippet.title in own:
            assert "http://10.1.2.3:8000/api/v1/ingest" in snippet.code
        elif snippet.title in mqtt:
            assert "10.1.2.3" in snippet.code
            assert "18831" in snippet.code
            assert "m1" in snippet.code
            assert "greenhouse" not in snippet.code
        elif snippet.title != "Home Assistant (InfluxDB)":
            assert "http://10.1.2.3:8000" in snippet.code
        assert "tlm_secret" in snippet.code
        assert "127.0.0.1" not in snippet.code
        assert snippet.intro


@pytest.mark.parametrize(
    ("address", "host", "port", "ssl"),
    [
        ("http://10.1.2.3:8000", "10.1.2.3", 8000, False),
        ("https://telemetry.example.net", "telemetry.example.net", 443, True),
        ("http://telemetry.local", "telemetry.local", 80, False),
    ],
)
def test_a_configuration_with_the_parts_of_the_address_has_them_too(address, host, port, ssl):
    found = snippets(address=address, key="tlm_secret", device_id="m1")
    (code_of_it,) = (s.code for s in found if s.title == "Home Assistant (InfluxDB)")
    influxdb = yaml.safe_load(code_of_it)["influxdb"]

    assert (influxdb["host"], influxdb["port"], influxdb["ssl"]) == (host, port, ssl)
    assert influxdb["token"] == "tlm_secret"


@pytest.mark.parametrize("off", [{"MQTT_PORT": 0}, {"DOORS": ["influx"]}])
def test_without_mqtt_there_is_no_code_for_it(settings, off):
    for name, value in off.items():
        setattr(settings, name, value)
    titles = [s.title for s in snippets(address="http://10.1.2.3:8000", key=None, device_id=None)]
    assert titles[4:6] == ["ESPHome", "Home Assistant"]


def test_without_a_key_its_place_is_left():
    assert "tlm_…" in code("curl", key=None)


@pytest.mark.parametrize("title", ["Python", "MicroPython", "MQTT with Python"])
def test_the_python_can_be_read(title):
    ast.parse(code(title))


def test_the_yaml_can_be_read():
    esphome = yaml.safe_load(code("ESPHome"))
    post = esphome["interval"][0]["then"][0]["http_request.post"]
    assert post["request_headers"]["X-API-Key"] == "tlm_secret"
    home_assistant = yaml.safe_load(code("Home Assistant"))
    assert home_assistant["rest_command"]["post_reading"]["method"] == "post"
    # The words of before 2024.10, which every version accepts.
    (automation,) = home_assistant["automation"]
    assert automation.keys() == {"alias", "trigger", "condition", "action"}
    assert automation["action"] == [{"service": "rest_command.post_reading"}]


def test_the_recipes_can_be_read():
    tokens = markdown.parse((FOLDER / "recipes.md").read_text())
    fences = [(t.info, t.content) for t in tokens if t.type == "fence"]
    assert [yaml.safe_load(text) for info, text in fences if info == "yaml"]
    flows = [json.loads(text) for info, text in fences if info == "json"]
    assert len(flows) == 2
    for flow in flows:
        names = {node["id"] for node in flow}
        assert {wire for node in flow for wires in node.get("wires", ()) for wire in wires} < names
    for text in [text for info, text in fences if info == "python"]:
        ast.parse(text)


def test_the_live_flow_of_node_red_sends_its_key_with_each_connection():
    flow = next(
        t.content for t in markdown.parse((FOLDER / "recipes.md").read_text()) if "websocket-client" in t.content
    )
    (client,) = [node for node in json.loads(flow) if node["type"] == "websocket-client"]
    assert [(header["keyValue"], header["valueValue"]) for header in client["headers"]] == [("X-API-Key", "tlm_…")]
    assert "ticket" not in client["path"]


@pytest.fixture(scope="module")
def posts_of_the_sketch(tmp_path_factory):
    """Compiles the Arduino example with stubs of the board's libraries; runs it with what happens to the board.

    Returns a function that gives its posts as (time since the start in seconds, readings).
    """
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler (Debian: apt-get install g++)")
    folder = tmp_path_factory.mktemp("arduino")
    (folder / "sketch.h").write_text(code("Arduino"))
    program = folder / "sketch"
    subprocess.run(
        ["g++", "-Wall", "-Werror", f"-I{ARDUINO}", f"-I{folder}", ARDUINO / "board.cpp", "-o", program], check=True
    )

    def posts(what_happens):
        lines = subprocess.run([program, what_happens], capture_output=True, text=True, check=True).stdout.splitlines()
        return [(int(line.split()[0]) / 1000, json.loads(line.partition(" ")[2])) for line in lines]

    return posts


def test_the_arduino_code_for_mqtt_connects_again_and_publishes_every_minute(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler (Debian: apt-get install g++)")
    (tmp_path / "mqtt_sketch.h").write_text(code("MQTT with Arduino"))
    command: list[Any] = ["g++", "-Wall", "-Werror", f"-I{ARDUINO}", f"-I{tmp_path}", ARDUINO / "mqtt_board.cpp"]
    subprocess.run([*command, "-o", tmp_path / "board"], check=True)
    printed = subprocess.run([tmp_path / "board"], capture_output=True, text=True, check=True).stdout.splitlines()
    connect = "connect m1 m1 tlm_secret telemetry/m1/status 1 0 offline"
    publish = 'publish telemetry/m1/readings {"temperature":21.50}'
    assert printed == ["server 10.1.2.3 1883", connect, publish, publish, connect, publish]


def test_the_text_for_telegraf_and_the_things_stack_is_accepted(anyone):
    device, key = Device.objects.register(device_id="0004A30B001C0530")
    (output,) = tomllib.loads(code("Telegraf", key))["outputs"]["influxdb_v2"]
    path = urlsplit(output["urls"][0]).path + "/api/v2/write?org=any&bucket=any&precision=ns"
    headers = {"Authorization": f"Token {output['token']}"}
    answer = anyone.generic("POST", path, "mem,host=pi used_percent=40.5", "text/plain", headers=headers)
    assert answer.status_code == 204
    base, header = (line.split(maxsplit=2)[2] for line in code("The Things Stack", key).splitlines())
    name, value = header.removeprefix("header").strip().split(": ")
    uplink = {"rx_metadata": [], "decoded_payload": {"temperature": 21.5}}
    event = {"end_device_ids": {"dev_eui": device.device_id}, "uplink_message": uplink}
    answer = anyone.post(urlsplit(base).path, event, headers={name: value}, format="json")
    assert answer.status_code == 200
    assert Reading.objects.filter(device_id=device.device_id).count() == 2


def test_the_arduino_code_keeps_what_it_cannot_send_and_sends_it_with_its_age(posts_of_the_sketch):
    posts = [readings for _, readings in posts_of_the_sketch("outage")]
    assert [len(readings) for readings in posts] == [1, 50, 11]
    sent = posts[1] + posts[2]
    assert len({reading["id"] for reading in sent}) == 61
    ages = [reading["age_seconds"] for reading in sent]
    assert ages == pytest.approx([60 * n for n in range(60, -1, -1)], abs=6)


def test_the_arduino_code_posts_as_soon_as_wifi_is_connected(posts_of_the_sketch):
    (first, (reading,)), (second, _) = posts_of_the_sketch("start")
    assert first == pytest.approx(3.4, abs=0.2)
    assert reading["age_seconds"] == pytest.approx(3.4, abs=0.2)
    assert second == pytest.approx(60, abs=0.2)


def test_the_arduino_code_posts_once_a_minute_while_the_server_refuses(posts_of_the_sketch):
    posts = posts_of_the_sketch("refusal")
    assert [at for at, _ in posts] == pytest.approx([0, 60, 120, 180], abs=0.5)
    assert [len(readings) for _, readings in posts] == [1, 2, 3, 4]


class EndOfTest(Exception):
    pass


class Board:
    """The modules `network`, `requests` and `time` of a MicroPython board, with a clock of its own.

    Wi-Fi is connected except in the milliseconds of `away`, `status` gives the status of the server's answer at a
    time (0: the connection breaks), and the program ends at `end_ms`.
    """

    STA_IF = 0

    def __init__(self, *, away=range(0), status=lambda ms: 201, end_ms):
        self.now_ms = 0
        self.away, self.status, self.end_ms = away, status, end_ms
        self.posts = []

    def ticks_ms(self):
        if self.now_ms >= self.end_ms:
            raise EndOfTest
        return self.now_ms

    def ticks_diff(self, later, earlier):
        return later - earlier

    def sleep_ms(self, milliseconds):
        self.now_ms += milliseconds

    def WLAN(self, interface):  # noqa: N802  MicroPython's name
        return self

    def active(self, on):
        pass

    def connect(self, network, password):
        pass

    def isconnected(self):
        return self.now_ms not in self.away

    def post(self, url, *, json, headers, timeout):
        self.now_ms += 40
        self.posts.append((self.now_ms / 1000, json))
        if (status := self.status(self.now_ms)) == 0:
            raise OSError(104)
        return SimpleNamespace(status_code=status, text="", close=lambda: None)

    def run(self, monkeypatch):
        for module in ("network", "requests", "time"):
            monkeypatch.setitem(sys.modules, module, self)
        with pytest.raises(EndOfTest):
            exec(code("MicroPython"), {})
        return self.posts


def test_the_micropython_code_posts_as_soon_as_wifi_is_connected(monkeypatch):
    (first, (reading,)), (second, _) = Board(away=range(3400), end_ms=110_000).run(monkeypatch)
    assert first == pytest.approx(3.4, abs=0.2)
    assert reading["age_seconds"] == pytest.approx(3.4, abs=0.2)
    assert second == pytest.approx(60, abs=0.2)


def test_the_micropython_code_keeps_what_it_cannot_send_and_sends_it_with_its_age(monkeypatch):
    posts = Board(away=range(1000, 3_601_000), end_ms=3_650_000).run(monkeypatch)
    assert [len(readings) for _, readings in posts] == [1, 50, 10]
    ages = [reading["age_seconds"] for _, readings in posts[1:] for reading in readings]
    assert ages == pytest.approx([60 * n for n in range(59, -1, -1)], abs=6)


@pytest.mark.parametrize("status", [0, 503])
def test_the_micropython_code_posts_once_a_minute_while_the_server_refuses(status, monkeypatch):
    posts = Board(status=lambda ms: status if ms < 150_000 else 201, end_ms=200_000).run(monkeypatch)
    assert [at for at, _ in posts] == pytest.approx([0, 60, 120, 180], abs=0.5)
    assert [len(readings) for _, readings in posts] == [1, 2, 3, 4]
