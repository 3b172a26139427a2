from __future__ import annotations

from runtime.bench.devices.handpiece import WARM_UP, measure_noise, measure_replug


def test_noise_is_measured_on_every_parser() -> None:
    results = measure_noise(noise_bytes=50_000, trials=100)
    assert [result.parser for result in results] == ["reference", "tofsense", "gy53"]
    for result in results:
        assert result.noise_bytes == 50_000 and result.trials == 100
        assert (result.exceptions, result.framed, result.false_readings) == (0, 0, 0)
        assert result.lost_most == 0 and result.held_most <= 1
        assert 0 < result.expected_framed_per_million < 1e-3 and result.ns_per_byte > 0


def test_replugs_are_measured() -> None:
    result = measure_replug(10)
    assert result.cycles == result.returned == 10
    assert result.descriptors[0] == result.descriptors[1] > 0 and result.threads[0] == result.threads[1] == 3
    assert WARM_UP > 0 and 0 < result.return_ms_median <= result.return_ms_most
