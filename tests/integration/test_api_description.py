# SPDX-License-Identifier: Apache-2.0
"""The description of the API (/openapi.json) against the program that it describes, and its shape."""
import re

import api
import control
import pytest

METHODS = {"get", "post", "put", "patch", "delete"}
WITHOUT_ROUTE = {"operations"}


@pytest.fixture
def document(mediator):
    with api.connect(mediator) as a:
        return a.get("/openapi.json")


def operations(document):
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            yield path, method, what


def test_the_program_prints_the_same(document):
    assert api.describe() == document


def test_every_route_answers(mediator, document):
    """With a body that no operation takes: it is there, and says what is wrong in its own words."""
    for path, method, what in operations(document):
        with api.connect(mediator) as a:
            answer = a.ask(method.upper(), re.sub("[{}]", "", path), {} if "requestBody" in what else None)
            assert answer.status not in (405, 500, 501), (path, method)
            if answer.status == 404:
                # A thing that is not there, or the page, which is compiled in or not.
                assert answer.problem()[1] == "unknown" or path == "/", (path, method, answer.body)


def test_every_operation_has_a_route(mediator, document):
    routed = {what["operationId"] for _, _, what in operations(document) if "operationId" in what}
    with control.connect(mediator) as ctl:
        known = ctl.do("operations")["operations"]
    assert routed == set(known) - WITHOUT_ROUTE


def test_every_field_is_described(mediator, document):
    with control.connect(mediator) as ctl:
        known = ctl.do("operations")["operations"]
    for path, _, what in operations(document):
        if "operationId" not in what:
            continue
        described = {p["name"] for p in what["parameters"] if p["in"] in ("path", "query")}
        if "requestBody" in what:
            schema = what["requestBody"]["content"]["application/json"]["schema"]
            assert not described & set(schema["properties"]), path
            described |= set(schema["properties"])
            assert set(schema["required"]) <= set(schema["properties"])
        assert described == set(known[what["operationId"]]["fields"]), path
        for name, field in known[what["operationId"]]["fields"].items():
            if field["required"]:
                in_path = {p["name"] for p in what["parameters"] if p["required"]}
                in_body = what.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
                assert name in in_path or name in in_body.get("required", []), (path, name)


def test_roles_are_those_of_the_operations(document):
    for path, method, what in operations(document):
        assert what["x-role"] == ("viewer" if method == "get" else "admin"), path


def check_schema(schema, where):
    if "$ref" in schema:
        assert schema["$ref"] == "#/components/schemas/problem", where
        return
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert kinds and set(kinds) <= {"string", "integer", "number", "boolean", "object", "array", "null"}, where
    for name, inner in schema.get("properties", {}).items():
        check_schema(inner, f"{where}.{name}")
    if "required" in schema:
        assert set(schema["required"]) <= set(schema["properties"]), where


def check_content(content, where):
    assert content
    for kind, what in content.items():
        assert re.fullmatch(r"[a-z]+/[a-z+-]+", kind), where
        check_schema(what["schema"], where)


def test_its_shape_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.") and {"title", "version"} <= set(document["info"])
    assert set(document) <= {"openapi", "info", "security", "paths", "components"} | {k for k in document if k.startswith("x-")}
    for requirement in document["security"]:
        assert set(requirement) <= set(document["components"]["securitySchemes"])
    for scheme in document["components"]["securitySchemes"].values():
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    check_schema(document["components"]["schemas"]["problem"], "problem")
    ids = [what["operationId"] for _, _, what in operations(document) if "operationId" in what]
    assert len(ids) == len(set(ids))
    for path, method, what in operations(document):
        assert path.startswith("/") and method in METHODS
        assert set(what) <= {"operationId", "description", "parameters", "requestBody", "responses", "x-role"}, path
        parameters = what.get("parameters", [])
        names = [(p["name"], p["in"]) for p in parameters]
        assert len(names) == len(set(names))
        assert {n for n, place in names if place == "path"} == set(re.findall(r"{(\w+)}", path)), path
        for p in parameters:
            assert p["in"] in ("path", "query", "header") and isinstance(p["required"], bool) and p["description"]
            assert p["required"] or p["in"] != "path"
            check_schema(p["schema"], path)
        if "requestBody" in what:
            assert method in ("post", "put", "patch")
            check_content(what["requestBody"]["content"], path)
        assert "default" in what["responses"]
        for status, response in what["responses"].items():
            assert status == "default" or re.fullmatch("2[0-9][0-9]", status)
            assert response["description"]
            check_content(response["content"], path)


def test_events_have_their_kinds_described(mediator, document):
    with api.connect(mediator) as a:
        rows = a.get("/v1/events")["events"]
    assert rows and {r["kind"] for r in rows} <= set(document["x-event-kinds"])
