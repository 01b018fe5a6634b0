"""`/guide`: the documents as pages for anyone, without internet access, and the code examples for devices."""

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from realtime.pages.markdown import FOLDER, PAGES, markdown, snippets

pytestmark = [pytest.mark.django_db, pytest.mark.once]

ARDUINO = Path(__file__).parent / "arduino"


def code(title, key="tlm_secret"):
    return next(s.code for s in snippets(address="http://10.1.2.3:8000", key=key) if s.title == title)


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


def test_there_is_code_for_every_kind_of_device_with_the_address_and_the_key_in_it():
    found = snippets(address="http://10.1.2.3:8000", key="tlm_secret")
    assert [s.title for s in found] == ["curl", "Python", "Arduino", "MicroPython", "ESPHome", "Home Assistant"]
    for snippet in found:
        assert "http://10.1.2.3:8000/api/v1/ingest" in snippet.code
        assert "tlm_secret" in snippet.code
        assert "127.0.0.1" not in snippet.code
        assert snippet.intro


def test_without_a_key_its_place_is_left():
    assert "tlm_…" in code("curl", key=None)


@pytest.mark.parametrize("title", ["Python", "MicroPython"])
def test_the_python_can_be_read(title):
    ast.parse(code(title))


def test_the_yaml_can_be_read():
    esphome = yaml.safe_load(code("ESPHome"))
    post = esphome["interval"][0]["then"][0]["http_request.post"]
    assert post["request_headers"]["X-API-Key"] == "tlm_secret"
    home_assistant = yaml.safe_load(code("Home Assistant"))
    assert home_assistant["rest_command"]["post_reading"]["method"] == "post"


def test_the_recipes_can_be_read():
    tokens = markdown.parse((FOLDER / "recipes.md").read_text())
    fences = [(t.info, t.content) for t in tokens if t.type == "fence"]
    assert [yaml.safe_load(text) for info, text in fences if info == "yaml"]
    (flow,) = [json.loads(text) for info, text in fences if info == "json"]
    names = {node["id"] for node in flow}
    assert {wire for node in flow for wires in node["wires"] for wire in wires} < names


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler (Debian: apt-get install g++)")
def test_the_arduino_code_keeps_what_it_cannot_send_and_sends_it_with_its_age(tmp_path):
    """Compiles the example with stubs of the board's libraries; it simulates an outage and prints its posts."""
    (tmp_path / "sketch.h").write_text(code("Arduino"))
    program = tmp_path / "sketch"
    subprocess.run(
        ["g++", "-Wall", "-Werror", f"-I{ARDUINO}", f"-I{tmp_path}", ARDUINO / "board.cpp", "-o", program], check=True
    )
    posts = [
        json.loads(line)
        for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    assert [len(post) for post in posts] == [1, 50, 11]
    readings = posts[1] + posts[2]
    assert [reading["age_seconds"] for reading in readings] == [60.0 * n for n in range(60, -1, -1)]
    assert len({reading["id"] for reading in readings}) == 61
