"""The guard: under which names the daemon answers, to whom, and how much it reads."""

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.guard import MAX_BODY_BYTES, Guard

PORT = 8420
OWN = {"127.0.0.1:8420", "localhost:8420", "[::1]:8420"}


async def echo(scope, receive, send):
    """An application that answers 200 with the number of bytes it read."""
    read, more = 0, True
    while more:
        message = await receive()
        read, more = read + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"immutable")]})
    await send({"type": "http.response.body", "body": str(read).encode()})


def ask(method="GET", headers=None, content=None, port=PORT):
    async def asking():
        transport = httpx.ASGITransport(Guard(echo, port=port))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
            return await client.request(method, "/", headers=headers, content=content)

    return asyncio.run(asking())


@pytest.mark.parametrize("host", [*sorted(OWN), "LOCALHOST:8420"])
def test_the_daemons_own_names_are_answered(host):
    assert ask(headers={"Host": host}).status_code == 200
    assert ask("POST", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40).filter(lambda host: host.lower() not in OWN))
def test_any_other_name_is_not(host):
    refused = ask(headers={"Host": host})
    assert refused.status_code == 421
    assert set(refused.json()) == {"error", "remedy"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:84200", "localhost:8420.evil.example", "evil.example:8420", "", "0.0.0.0:8420"])
def test_names_that_come_close_are_refused(host):
    assert ask(headers={"Host": host}).status_code == 421


def test_port_80_is_left_out_by_browsers():
    assert ask(headers={"Host": "localhost"}, port=80).status_code == 200


FOREIGN = ("http://evil.example", "null", "https://127.0.0.1:8420", "http://127.0.0.1:1", "http://localhost:8420", "")


@pytest.mark.parametrize("origin", FOREIGN)
def test_another_page_may_not_use_the_daemon(origin):
    refused = ask("POST", headers={"Host": "127.0.0.1:8420", "Origin": origin})
    assert refused.status_code == 403


def test_two_host_headers_are_refused():
    async def asking():
        answers = []

        async def send(message):
            answers.append(message)

        headers = [(b"host", b"127.0.0.1:8420"), (b"host", b"evil.example")]
        await Guard(echo, port=PORT)({"type": "http", "headers": headers, "method": "GET", "path": "/"}, None, send)
        assert answers[0]["status"] == 421

    asyncio.run(asking())


def test_a_large_body_is_refused():
    large = ask("POST", content=b"x" * (MAX_BODY_BYTES + 1))
    assert large.status_code == 413
    assert str(MAX_BODY_BYTES) in large.json()["remedy"]
    assert ask("POST", content=b"x" * MAX_BODY_BYTES).text == str(MAX_BODY_BYTES)


def test_a_body_of_unstated_length_is_read_no_further_than_allowed():
    async def asking():
        pieces, answers = [0], []

        async def receive():
            pieces[0] += 1
            return {"type": "http.request", "body": b"x" * 1000, "more_body": True}  # without end

        async def send(message):
            answers.append(message)

        headers = [(b"host", b"127.0.0.1:8420"), (b"transfer-encoding", b"chunked")]
        await Guard(echo, port=PORT)({"type": "http", "headers": headers, "method": "POST", "path": "/"}, receive, send)
        assert answers[0]["status"] == 413
        assert pieces[0] <= MAX_BODY_BYTES // 1000 + 1

    asyncio.run(asking())


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999"])
def test_a_length_that_is_none_is_refused(length):
    assert ask("POST", headers={"Content-Length": length}).status_code == 413


def test_every_answer_keeps_the_page_to_itself():
    for answer in (ask(), ask(headers={"Host": "evil.example"}), ask("POST", content=b"x" * (MAX_BODY_BYTES + 1))):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert ask().headers["cache-control"] == "immutable"  # what a route says of itself stands


def test_a_foreign_websocket_is_closed_before_it_is_accepted():
    async def asking(headers):
        sent = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        async def accepting(scope, receive, send):
            await send({"type": "websocket.accept"})

        await Guard(accepting, port=PORT)({"type": "websocket", "headers": headers}, receive, send)
        return sent[0]["type"]

    own, foreign = (b"host", b"127.0.0.1:8420"), (b"origin", b"http://evil.example")
    assert asyncio.run(asking([own])) == "websocket.accept"
    assert asyncio.run(asking([own, foreign])) == "websocket.close"
    assert asyncio.run(asking([(b"host", b"evil.example:8420")])) == "websocket.close"


def test_refusals_are_json():
    refused = ask(headers={"Host": "evil.example"})
    assert json.loads(refused.content)["remedy"] == "open http://127.0.0.1:8420/ on this machine"
