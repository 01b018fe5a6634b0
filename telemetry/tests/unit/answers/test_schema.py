import json
import re
from pathlib import Path

import pytest
from django.core.management import call_command

from telemetry.tests.support.routes import routes

pytestmark = pytest.mark.once

HEALTH = "/api/v1/health"
# A ping needs no key; ThingsBoard's address has it.
WITHOUT_HEADER = {"/ping", "/api/v1/{key}/telemetry", "/api/v1/{key}/attributes"}
PAGES = ["/docs", "/redoc", "/docs?script"]


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """The schema as `manage.py spectacular` writes it, without warnings; JSON, because YAML takes seconds to write."""
    file: Path = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", "--file", str(file))
    return json.loads(file.read_text())


def operations(schema, *, with_health=False):
    """(path, method, operation) of every operation that authenticates callers; optionally also of health."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if with_health or path != HEALTH:
                yield path, method.upper(), operation


def test_it_is_valid_and_without_warnings(schema):
    assert schema["openapi"].startswith("3.1")


def types_of(part):
    """Every `type` in this part of the document that is a list."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), list):
            yield part["type"]
        for value in part.values():
            yield from types_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from types_of(value)


def test_no_type_is_named_twice(schema):
    found = list(types_of(schema))

    assert found
    assert [types for types in found if len(types) > len(set(types))] == []


def test_it_has_every_route_of_the_api_and_no_other(schema):
    there_is = {
        (re.sub(r"<\w+:(\w+)>", r"{\1}", f"/{route.path}"), method)
        for route in routes()
        for method in route.methods
        if (route.path.startswith("api/") and route.name != "schema") or route.name.startswith("influx")
    }

    assert {(path, method) for path, method, _ in operations(schema, with_health=True)} == there_is


def test_every_operation_has_an_id_of_its_own(schema):
    identifiers = [operation["operationId"] for _, _, operation in operations(schema, with_health=True)]

    assert len(set(identifiers)) == len(identifiers)


def of_influx(operation):
    """Whether the operation is one of InfluxDB's, with its documents and its ways to send a key."""
    return operation["operationId"].startswith("influx_")


def test_every_operation_names_its_errors_as_problems(schema):
    for path, method, operation in operations(schema):
        if of_influx(operation):
            continue
        responses = operation["responses"]
        expected = {"401", "403", "503"} | ({"404"} if "{" in path else set())
        if "requestBody" in operation:
            expected |= {"400", "413", "415", "422"}
        assert expected <= responses.keys(), (method, path)
        for status, response in responses.items():
            if status >= "400":
                assert response["content"].keys() == {"application/problem+json"}, (method, path, status)


def test_every_operation_takes_a_key_in_either_header(schema):
    schemes = schema["components"]["securitySchemes"]
    assert schemes["apiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    for path, method, operation in operations(schema):
        if path in WITHOUT_HEADER:
            continue
        assert {"apiKey": []} in operation["security"], (method, path)
        assert {"bearer": []} in operation["security"], (method, path)


def test_health_is_open_to_anyone_and_answers_no_problem_document(schema):
    operation = schema["paths"][HEALTH]["get"]

    assert operation["security"] == [{}]
    assert {status: set(response["content"]) for status, response in operation["responses"].items()} == {
        "200": {"application/json"},
        "503": {"application/json"},
    }


def test_only_ingest_and_doors_take_no_session(schema):
    without = {path for path, _, operation in operations(schema) if {"staffSession": []} not in operation["security"]}

    doors = {path for path, _, operation in operations(schema) if operation["tags"] == ["doors"]}
    assert len(doors) == 8
    assert without == {"/api/v1/ingest", "/api/v1/ingest/batch"} | doors


def test_influxdbs_operations_answer_with_its_documents(schema):
    for path, _, operation in operations(schema):
        if of_influx(operation):
            member = "code" if path == "/api/v2/write" else "error"
            for status, answer in operation["responses"].items():
                if status >= "400":
                    assert member in answer["content"]["application/json"]["schema"]["properties"], (path, status)


def test_new_names_a_rotation_and_a_tag_in_use_may_conflict(schema):
    conflicting = {(path, method) for path, method, op in operations(schema) if "409" in op["responses"]}

    assert conflicting == {
        ("/api/v1/devices", "POST"),
        ("/api/v1/devices/{device_id}/rotate-key", "POST"),
        ("/api/v1/tokens", "POST"),
        ("/api/v1/tags", "POST"),
        ("/api/v1/tags/{name}", "PATCH"),
        ("/api/v1/tags/{name}", "DELETE"),
        ("/api/v1/views", "POST"),
    }


@pytest.mark.parametrize("path", [*PAGES, "/api/v1/schema"])
def test_it_is_open_to_anyone(anyone, path):
    assert anyone.get(path).status_code == 200


def test_it_is_served_as_json_too(anyone):
    response = anyone.get("/api/v1/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json")

    assert json.loads(response.content)["openapi"].startswith("3.1")


@pytest.mark.parametrize("path", PAGES)
def test_no_page_asks_another_server_for_anything(anyone, path):
    content = anyone.get(path).content.decode()

    assert re.findall(r"""(?:https?:)?//[\w.-]+\.\w+[^"'\s]*""", content.replace("http://testserver", "")) == []
    assert "fonts.g" not in content


@pytest.mark.parametrize("path", PAGES[:2])
def test_what_a_page_asks_for_is_here(anyone, path):
    content = anyone.get(path).content.decode()
    addresses = re.findall(r"""(?:src|href|spec-url)=["']([^"']+)["']""", content)

    assert len(addresses) >= 2
    for address in addresses:
        assert address.startswith("/"), address
        assert anyone.get(address, follow=True).status_code == 200, address


def test_the_style_of_the_documentation_asks_for_no_fonts_either(anyone):
    for address in re.findall(r'href="([^"]+\.css)"', anyone.get("/redoc").content.decode()):
        style = b"".join(anyone.get(address)).decode()
        assert "@import" not in style
        assert not re.search(r"url\(\s*['\"]?(?:https?:)?//", style)
