"""The live view as a page sees it: one frame in flight, always the latest, whatever the client does."""

import asyncio
import io

import httpx
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from device.errors import CameraLostError
from runtime.analysis.measurement import Measurement
from runtime.api import live
from runtime.api.live import RollingAges
from runtime.errors import StoreFullError
from runtime.store.captures import CaptureStore
from tests.eventually import DEADLINE_S
from tests.runtime.running_daemon import live_client, running
from tests.scripted_camera import HEIGHT, PLAIN_JPEG, WIDTH


@pytest.fixture(autouse=True)
def state_often(monkeypatch):
    """Two state messages are how these tests wait for what must not come."""
    monkeypatch.setattr(live, "STATE_EVERY_S", 0.15)


@pytest.fixture
def daemon(tmp_path):
    with running(tmp_path) as run:
        yield run


def play(conversation):
    """Run a conversation with a deadline."""
    asyncio.run(asyncio.wait_for(conversation, 2 * DEADLINE_S))


async def frames_so_far(daemon):
    return (await asyncio.to_thread(daemon.status))["frames"]


def test_the_cameras_own_jpeg_arrives_untouched(daemon):
    async def conversation():
        async with live_client(daemon) as client:
            header, jpeg = await client.next("frame")
            assert jpeg == PLAIN_JPEG
            assert (header["width"], header["height"]) == (WIDTH, HEIGHT)
            assert header["age_ms"] >= 0
            assert header["sequence"] == header["number"]  # one life of one camera

    play(conversation())


def test_a_camera_without_jpeg_has_one_made(tmp_path):
    async def conversation(daemon):
        async with live_client(daemon) as client:
            header, jpeg = await client.next("frame")
            assert Image.open(io.BytesIO(jpeg)).size == (header["width"], header["height"]) == (WIDTH, HEIGHT)

    with running(tmp_path, send_jpeg=False) as daemon:
        play(conversation(daemon))


def test_nothing_more_is_sent_before_the_frame_is_acknowledged(daemon):
    async def conversation():
        async with live_client(daemon) as client:
            header, _ = await client.next("frame")
            kinds = []
            while kinds.count("state") < 2:  # while the camera gives dozens of frames
                kinds.append((await client.message())[0])
            while await frames_so_far(daemon) < header["number"] + 10:
                pass
            assert "frame" not in kinds

    play(conversation())


def test_after_an_acknowledgement_comes_the_latest_frame_and_no_older_one(daemon):
    async def conversation():
        async with live_client(daemon) as client:
            header, _ = await client.next("frame")
            for _ in range(4):
                while (there_were := await frames_so_far(daemon)) < header["number"] + 20:
                    pass
                await client.ack(header["number"])
                later, _ = await client.next("frame")
                assert later["number"] >= there_were
                header = later

    play(conversation())


def test_a_slow_client_does_not_slow_a_quick_one(daemon):
    async def conversation():
        async with live_client(daemon) as slow, live_client(daemon) as quick:
            first, _ = await slow.next("frame")
            for _ in range(30):
                header, _ = await quick.next("frame")
                await quick.ack(header["number"])
            await slow.ack(first["number"])
            later, _ = await slow.next("frame")
            assert later["number"] >= header["number"]

    play(conversation())


def test_an_acknowledgement_of_another_frame_is_nothing(daemon):
    async def conversation():
        async with live_client(daemon) as client:
            header, _ = await client.next("frame")
            await client.ack(header["number"] - 1)
            await client.ack(header["number"] + 1)
            kinds = []
            while kinds.count("state") < 2:
                kinds.append((await client.message())[0])
            assert "frame" not in kinds
            await client.ack(header["number"])
            await client.next("frame")

    play(conversation())


def test_results_are_whole_measurements_one_in_flight(daemon):
    async def conversation():
        async with live_client(daemon) as client:
            result = await client.next("result")
            measurement = Measurement.model_validate(result["measurement"])
            assert (measurement.width_px, measurement.height_px) == (WIDTH, HEIGHT)
            assert measurement.paper is None  # live results skip the slow part
            kinds = []
            while kinds.count("state") < 2:
                kinds.append((await client.message())[0])
            assert "result" not in kinds
            await client.ack_result(result["sequence"])
            assert (await client.next("result"))["sequence"] > result["sequence"] + 1  # those between were skipped

    play(conversation())


def test_the_state_comes_at_once_and_at_each_change(tmp_path):
    async def conversation(daemon):
        async with live_client(daemon) as client:
            first = await client.next("state")
            assert set(first) == {"type", "camera", "analysis", "segmenter", "models", "calibration", "handpiece", "store", "stats"}
            assert first["store"] == {"notice": None, "problem": None}
            assert {"preview_fps", "results_per_s", "age_ms_p95", "captures"} <= set(first["stats"])
            gone = await client.next("state", lambda state: state["camera"]["state"] == "absent")
            assert "microscope 7" in gone["camera"]["message"]
            await client.next("state", lambda state: state["camera"]["state"] == "streaming")

    with running(tmp_path, [60, CameraLostError("microscope 7 went away")]) as daemon:
        play(conversation(daemon))


def test_trouble_with_the_store_is_told_at_once(tmp_path, monkeypatch):
    def full(*_args):
        raise StoreFullError("/state: 3 MB free on this disk: free some space there")

    async def conversation(daemon):
        async with live_client(daemon) as client:
            monkeypatch.setattr(CaptureStore, "add", full)
            capture = asyncio.create_task(asyncio.to_thread(httpx.post, f"{daemon.address}api/captures", json={}, timeout=DEADLINE_S))
            told = await client.next("state", lambda state: state["store"]["problem"])
            assert "3 MB free" in told["store"]["problem"]
            assert (await capture).status_code == 507

    with running(tmp_path) as daemon:
        daemon.until(lambda status: status["frames"])
        play(conversation(daemon))


def test_the_age_is_measured_until_the_acknowledgement(daemon):
    async def conversation():
        async with live_client(daemon) as client:
            header, _ = await client.next("frame")
            await asyncio.sleep(0.3)
            await client.ack(header["number"])
            state = await client.next("state", lambda state: state["stats"]["age_ms_p95"] is not None)
            assert state["stats"]["age_ms_p95"] >= 300
        metrics = (await asyncio.to_thread(daemon.get, "/metrics")).text
        assert 'trichoscope_picture_age_seconds_bucket{le="0.2"} 0.0' in metrics

    play(conversation())


def test_one_page_too_many_is_told_to_come_later(tmp_path):
    async def conversation(daemon):
        async with live_client(daemon) as first:
            async with live_client(daemon) as second:
                with pytest.raises(ConnectionClosedError) as refusal:
                    await second.socket.recv()
                assert refusal.value.rcvd.code == 1013
            await first.next("frame")
        while (await asyncio.to_thread(daemon.status))["live_clients"]:
            pass
        async with live_client(daemon) as third:  # there is room again
            await third.next("frame")

    with running(tmp_path, settings={"server.max_clients": 1}) as daemon:
        play(conversation(daemon))


FOREIGN = ("", "hello", b"\0\1", "[]", '{"type":"ack"}', '{"type":"ack","number":"1"}', '{"type":"other"}', '{"x":"%s"}' % ("y" * 2000))


def test_whoever_does_not_speak_the_protocol_is_sent_away(daemon):
    async def conversation(message):
        async with live_client(daemon) as client:
            await client.socket.send(message)
            with pytest.raises(ConnectionClosedError) as refusal:
                while True:
                    await client.message()
            assert refusal.value.rcvd.code == 1008, message
        assert await frames_so_far(daemon)  # nobody else was hurt

    for message in FOREIGN:
        play(conversation(message))


def test_whoever_does_not_acknowledge_in_time_is_sent_away(daemon, monkeypatch):
    monkeypatch.setattr(live, "ACK_DEADLINE_S", 0.3)

    async def conversation():
        async with live_client(daemon) as client:
            with pytest.raises(ConnectionClosedError) as refusal:
                while True:
                    await client.message()
            assert refusal.value.rcvd.code == 1008
            assert "acknowledgement" in refusal.value.rcvd.reason

    play(conversation())


WHO_MAY_LOOK = (  # Origin, Host, whether
    ("http://127.0.0.1:{port}", "127.0.0.1:{port}", True),
    ("http://localhost:{port}", "localhost:{port}", True),
    ("http://evil.example", "127.0.0.1:{port}", False),
    ("http://127.0.0.1:1", "127.0.0.1:{port}", False),
    ("https://127.0.0.1:{port}", "127.0.0.1:{port}", False),
    ("null", "127.0.0.1:{port}", False),
    (None, "evil.example:{port}", False),  # a foreign name that resolves to this machine
    ("http://evil.example:{port}", "evil.example:{port}", False),
)


def test_only_the_daemons_own_page_may_look(daemon):
    async def conversation(origin, host, allowed):
        client = live_client(daemon, host.format(port=daemon.port), origin=origin and origin.format(port=daemon.port))
        if allowed:
            async with client as connected:
                await connected.next("frame")
        else:
            with pytest.raises(InvalidStatus) as refusal:
                async with client:
                    pass
            assert refusal.value.response.status_code == 403, (origin, host)

    for who in WHO_MAY_LOOK:
        play(conversation(*who))


def test_the_rolling_age_is_the_nearest_rank_percentile():
    ages = RollingAges()
    assert ages.p95() is None
    for age in range(100, 0, -1):
        ages.add(age)
    assert ages.p95() == 95
    for _ in range(1000):
        ages.add(7)
    assert ages.p95() == 7
