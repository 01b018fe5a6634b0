"""InfluxDB's ways to write, with the statuses and words that its clients act on."""

import base64
import time

import pytest
from django.utils import timezone

from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY
from readings.models import Reading, Rejection

pytestmark = pytest.mark.django_db

V2, V1 = "/api/v2/write", "/write"
BOTH = pytest.mark.parametrize("path", [V2, V1])


@pytest.fixture
def write(send, mote):
    """Posts lines, by default with the key of mote-1 to version 2."""

    def posted(lines, path=V2, key=mote[1], **given):
        headers = ({"Authorization": f"Token {key}"} if key else {}) | given.pop("headers", {})
        return send("POST", path, lines, headers=headers, **given)

    return posted


def seconds_ago(seconds):
    return int(time.time()) - seconds


@BOTH
def test_a_line_is_stored_and_answered_with_204_and_nothing_else(write, stored, path):
    answer = write("weather,location=roof temperature=21.5,humidity=48,rssi=-67i", path)

    assert (answer.status_code, answer.content) == (204, b"")
    assert stored() == [{"temperature": 21.5, "humidity": 48, "rssi": -67}]


@BOTH
@pytest.mark.parametrize("lines", ["", "\n", "\n\n  \r\n", "# a comment\n"])
def test_an_empty_request_succeeds(write, stored, path, lines):
    """Home Assistant tests its connection with one."""
    assert write(lines, path).status_code == 204
    assert stored() == []


def test_fields_become_metrics_and_value_is_the_measurement(write, stored):
    write("batteryVoltage value=3.3\nrain,kind=heavy value=2,mm.Today=7,on=true")

    assert stored() == [{"battery_voltage": 3.3, "rain": 2, "mm_today": 7, "on": 1}]


def test_lines_of_one_time_are_one_reading_and_others_are_not(write, stored):
    now = seconds_ago(0) * 10**9
    write(f"a value=1 {now - 10**9}\nb value=2 {now - 2 * 10**9}\nc value=3 {now - 10**9}\nd value=4")

    assert stored() == [{"a": 1, "c": 3}, {"b": 2}, {"d": 4}]


def test_of_two_values_of_one_metric_and_time_the_later_is_stored_and_the_other_named(write, stored):
    at = seconds_ago(5)
    write(f"cpu,core=0 usage=1 {at}\ncpu,core=1 usage=2 {at}", params={"precision": "s"})

    assert stored() == [{"usage": 2}]
    assert Rejection.objects.values_list("code", "field", "device_id").get() == ("skipped_name", "usage", "mote-1")


@pytest.mark.parametrize(
    ("path", "precision", "unit"),
    [
        *(
            (V2, precision, unit)
            for precision, unit in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1), ("", 1e-9))
        ),
        *((V1, precision, unit) for precision, unit in (("n", 1e-9), ("u", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60))),
        (V1, "h", 3600),
    ],
)
def test_times_have_the_precision_of_the_request(write, path, precision, unit):
    sent = round((time.time() - 7200) / unit)

    assert write(f"a value=1 {sent}", path, params={"precision": precision}).status_code == 204

    assert abs(Reading.objects.get().timestamp.timestamp() - sent * unit) < 1e-5


def test_an_unknown_precision_is_a_400(write):
    answer = write("a value=1", params={"precision": "days"})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "invalid precision" in answer.json()["message"]


def test_no_time_and_a_future_time_are_the_time_of_receipt(write):
    before = timezone.now()
    write(f"a value=1\nb value=2 {seconds_ago(-86_400)}", params={"precision": "s"})

    assert all(before <= reading.timestamp <= timezone.now() for reading in Reading.objects.all())
    assert Reading.objects.count() == 2


def test_a_time_that_is_too_old_is_a_bad_line(write, stored):
    answer = write(
        f"a value=1 {seconds_ago(32 * 86_400)}\nb value=2 {seconds_ago(30 * 86_400)}", params={"precision": "s"}
    )

    assert answer.status_code == 400
    assert "more than 31 days before its receipt (line 1)" in answer.json()["message"]
    assert stored() == [{"b": 2}]


def test_a_retry_is_stored_once(write, stored):
    lines = "\n".join(f"a value={n} {seconds_ago(n)}" for n in range(5))

    answers = [write(lines, params={"precision": "s"}).status_code for _ in range(3)]

    assert answers == [204] * 3
    assert len(stored()) == 5


def test_with_its_own_key_a_line_is_of_that_device_whatever_its_tags_say(write, stored):
    assert write("m,host=other,device=third a=1").status_code == 204
    assert stored("mote-1") == [{"a": 1}]


def test_with_a_fleet_key_a_tag_names_the_device(write, stored, gateway_devices, settings):
    settings.INFLUX_DEVICE_TAGS = ["node", "host"]
    lines = "m,host=d-1 a=1\nm,host=d-1,node=d-2 a=2\nm,device=d-2,host=d-1 b=3"

    assert write(lines, key=FLEET_KEY).status_code == 204
    assert (stored("d-1"), stored("d-2")) == ([{"a": 1, "b": 3}], [{"a": 2}])


def test_a_line_of_an_unknown_device_is_bad_and_the_others_are_stored(write, stored, gateway_devices):
    answer = write("m,host=d-1 a=1\nm,host=ghost a=2\nm a=3\nm,host=not\\ an\\ id a=4", key=FLEET_KEY)

    message = answer.json()["message"]
    assert answer.status_code == 400
    assert message.startswith("partial write: ")
    assert "There is no device with this id (line 2)" in message
    assert "(line 3)" in message
    assert "must match" in message
    assert message.endswith("dropped=3")
    assert answer.json()["line"] == 2
    assert stored("d-1") == [{"a": 1}]


def test_an_inactive_device_is_a_bad_line(write, gateway_devices):
    gateway_devices[0].is_active = False
    gateway_devices[0].save()

    assert "deactivated (line 1)" in write("m,host=d-1 a=1", key=FLEET_KEY).json()["message"]


def test_good_lines_are_stored_where_others_are_bad_and_those_are_named(write, stored):
    answer = write("a value=1\nnonsense\nb value=2\nc value=\nd value=NaN\nmore nonsense")

    assert answer.status_code == 400
    assert answer.json() == {
        "code": "invalid",
        "message": "partial write: unable to parse 'nonsense': missing fields (line 2); "
        "unable to parse 'c value=': missing field value (line 4); "
        "unable to parse 'd value=NaN': invalid number (line 5); "
        "unable to parse 'more nonsense': invalid field format (line 6) dropped=4",
        "line": 2,
    }
    assert stored() == [{"a": 1, "b": 2}]


def test_version_1_has_its_own_words(write):
    answer = write("nonsense", V1)

    assert answer.status_code == 400
    assert answer.json() == {"error": "partial write: unable to parse 'nonsense': missing fields (line 1) dropped=1"}
    assert answer.headers["X-Influxdb-Error"] == answer.json()["error"]


def test_many_bad_lines_are_told_briefly(write):
    answer = write("\n".join(["nonsense"] * 9_000))

    assert len(answer.content) < 500
    assert "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 8990 more" in answer.json()["message"]
    assert "dropped=9000" in answer.json()["message"]


def test_more_than_32_metrics_of_one_time_are_bad_lines(write, stored):
    at = seconds_ago(1)
    lines = [f"m{n} a{n}=1,b{n}=2 {at}" for n in range(17)]

    answer = write("\n".join([*lines, f"good value=1 {at - 1}"]), params={"precision": "s"})

    assert "At most 32 metrics" in answer.json()["message"]
    assert "dropped=17" in answer.json()["message"]
    assert stored() == [{"good": 1}]


def test_text_is_skipped_which_is_success_and_noted(write, stored):
    answer = write('m state="on",a=1\nn only="text"')

    assert answer.status_code == 204
    assert stored() == [{"a": 1}]
    rows = Rejection.objects.order_by("field").values_list("device_id", "status", "code", "field", "detail")
    assert list(rows) == [
        ("mote-1", 204, "skipped_text", "only", "InfluxDB, only: Text is not stored."),
        ("mote-1", 204, "skipped_text", "state", "InfluxDB, state: Text is not stored."),
    ]


def test_bad_lines_are_noted_without_what_varies(write):
    for value in (1, 2):
        write(f"m,a={value}\nm a=warm{value}")

    rows = Rejection.objects.order_by("detail").values_list("device_id", "status", "code", "detail", "count")
    assert list(rows) == [
        ("mote-1", 400, "invalid_line", "invalid boolean", 2),
        ("mote-1", 400, "invalid_line", "missing fields", 2),
    ]


def test_a_bad_line_of_a_gateway_is_noted_for_its_device(write, gateway_devices):
    write("m,host=d-1 a=1 5\nm,host=ghost a=2", key=FLEET_KEY)

    rows = Rejection.objects.order_by("code").values_list("caller", "device_id", "code")
    assert list(rows) == [("fleet", "d-1", "too_old"), ("fleet", "ghost", "unknown_device")]


def basic(key):
    return "Basic " + base64.b64encode(f"user:{key}".encode()).decode()


@BOTH
@pytest.mark.parametrize("form", ["Token {}", "token {}", "Bearer {}", "basic"])
def test_the_forms_in_which_a_key_may_come(write, mote, path, form):
    value = basic(mote[1]) if form == "basic" else form.format(mote[1])

    assert write("a value=1", path, key="", headers={"Authorization": value}).status_code == 204


def test_x_api_key_works_too(write, mote):
    assert write("a value=1", key="", headers={"X-API-Key": mote[1]}).status_code == 204


@BOTH
@pytest.mark.parametrize(
    "value", [None, "Token wrong", "Basic !!!", "Basic dXNlcg==", "Basic /w==", "Digest x", "Token"], ids=str
)
def test_without_a_valid_key_it_is_a_401_in_influxdbs_words(write, path, value):
    answer = write("a value=1", path, key="", headers={"Authorization": value} if value else {})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]
    if path == V2:
        assert answer.json()["code"] == "unauthorized"
        assert answer.json()["message"]
    else:
        assert list(answer.json()) == ["error"]


def test_the_administrators_key_is_a_403(write):
    answer = write("a value=1", key=ADMIN_KEY)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_keys_in_the_address_count_only_where_the_setting_says_so(write, mote, settings):
    parameters = {"db": "x", "u": "mote-1", "p": mote[1]}

    assert write("a value=1", V1, key="", params=parameters).status_code == 401
    settings.DOORS = ["influx", "influx-query-keys"]
    assert write("a value=1", V1, key="", params=parameters).status_code == 204


def test_the_rate_limit_is_a_429_with_retry_after(write, settings):
    settings.DEVICE_RATE_LIMIT = "1/h"
    write("a value=1")

    answer = write("a value=1")

    assert (answer.status_code, answer.json()["code"]) == (429, "too many requests")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_closed_door_is_a_404_that_says_how_to_open_it(write, stored, settings):
    settings.DOORS = ["lorawan"]

    answer = write("a value=1")

    assert (answer.status_code, answer.json()["code"]) == (404, "not found")
    assert "DOORS" in answer.json()["message"]
    assert stored() == []


@BOTH
@pytest.mark.parametrize(
    "body", [b"\xff\xfe a=1", b"m\x00 a=1", b'm a="', b"\\", b"m,=,= a=1", b"m a=1 -", b"," * 70_000]
)
def test_no_body_gives_a_500(write, path, body):
    assert write(body, path).status_code in (204, 400)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping_needs_no_key(send, method, db):
    answer = send(method, "/ping")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["X-Influxdb-Version"]


def test_a_verbose_ping_is_a_200_with_the_version(send, db):
    answer = send("GET", "/ping", params={"verbose": "true"})

    assert answer.status_code == 200
    assert answer.json() == {"version": answer.headers["X-Influxdb-Version"]}
    assert send("HEAD", "/ping", params={"verbose": "true"}).content == b""


def test_ping_of_a_closed_door_is_a_404(send, settings, db):
    settings.DOORS = ["none"]

    assert send("GET", "/ping").status_code == 404


@pytest.mark.parametrize(
    "given", [{"params": {"q": 'CREATE DATABASE "telegraf"'}}, {"body": "q=create+database+x&db=y"}]
)
def test_create_database_succeeds(send, mote, given):
    answer = send("POST", "/query", headers={"Authorization": f"Token {mote[1]}"}, **given)

    assert answer.status_code == 200
    assert answer.json() == {"results": [{"statement_id": 0}]}


@pytest.mark.parametrize("given", [{}, {"params": {"q": "SELECT * FROM a"}}, {"body": "q=DROP+DATABASE+x"}])
def test_other_queries_are_an_error_that_says_where_to_ask(send, mote, given):
    answer = send("POST", "/query", headers={"Authorization": f"Token {mote[1]}"}, **given)

    assert answer.status_code == 400
    assert "/history" in answer.json()["error"]


def test_a_query_needs_a_key(send, db):
    assert send("POST", "/query", params={"q": "CREATE DATABASE x"}).status_code == 401


@pytest.mark.parametrize("method", ["QUERY", "WRITE", "DISPATCH", "NOTE"])
def test_a_method_never_calls_an_attribute_of_its_name(send, mote, method):
    for path in (V2, V1, "/query"):
        assert send(method, path, "a value=1", headers={"Authorization": f"Token {mote[1]}"}).status_code == 405
