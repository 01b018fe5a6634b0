"""Request targets in absolute form; `test_connection_limits.py` sends them to real servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.server.targets import InvalidTarget, Target, absolute_target

pytestmark = pytest.mark.once

HOSTS = st.sampled_from([b"localhost", b"example.org", b"192.0.2.7", b"[::1]", b"a-b_c.local"])
PORTS = st.sampled_from([b"", b":80", b":8000", b":65535"])
PATHS = st.sampled_from([b"/", b"/api/v1/ingest", b"//x", b"/a%2Fb", b"/@b:1/c", b"/http://other/"])
QUERIES = st.sampled_from([b"", b"?", b"?start=-1h&x=http://other/?y", b"?a@b"])


@given(st.sampled_from([b"http", b"https", b"HTTP", b"Https"]), HOSTS, PORTS, PATHS | st.just(b""), QUERIES)
def test_an_address_is_its_host_and_the_rest(scheme, host, port, path, query):
    target = absolute_target(scheme + b"://" + host + port + path + query)
    assert target == Target(host + port, (path or b"/") + query)


def test_an_empty_port_is_left_out():
    assert absolute_target(b"http://localhost:/x") == Target(b"localhost", b"/x")
    assert absolute_target(b"http://[::1]:") == Target(b"[::1]", b"/")


@pytest.mark.parametrize(
    "target",
    [b"/", b"/api/v1/ingest", b"//evil.example/x", b"/http://x/", b"*", b"localhost:80", b"", b"x", b"urn:a:b"],
)
def test_other_forms_are_none(target):
    assert absolute_target(target) is None


@pytest.mark.parametrize(
    "target",
    [
        *(b"ftp://localhost/", b"ws://localhost/", b"file:///etc/passwd", b"http://", b"http:///x", b"http://:80/"),
        *(b"http://user@localhost/", b"http://user:password@localhost/", b"http://local host/", b"http://a,b/"),
        *(
            b"http://localhost:port/",
            b"http://localhost:123456/",
            b"http://localhost:80:/",
            b"http://[::1/",
            b"http://local\\host/",
        ),
        *(b"http://localhost/#part", b"http://localhost#part", b"http://\xff/", b"http://localhost\r\nX-A: b/"),
    ],
)
def test_what_is_no_http_address_is_refused(target):
    with pytest.raises(InvalidTarget):
        absolute_target(target)


@given(st.binary(), st.sampled_from([b"", b"http://", b"https://localhost", b"http://localhost/"]))
def test_any_bytes_become_a_path_and_a_harmless_host_or_are_refused(rest, start):
    try:
        target = absolute_target(start + rest)
    except InvalidTarget:
        return
    if target:
        assert target.origin.startswith(b"/")
        assert target.host
        assert not set(target.host) & set(b"/@\\?#, \t\r\n\0")
