from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr

from calib.bar import BarFit, fit_bars

STEP_PX = 0.5
SKIN, SHAFT = 180.0, 60.0
Floats = NDArray[np.float64]


def offsets(width: float) -> Floats:
    half = width / 2 + 8.0
    return np.arange(-half, half + STEP_PX, STEP_PX)


def bar(u: Floats, left: float, right: float, sigma: float) -> Floats:
    """A bar of height one from `left` to `right` px under a Gaussian point spread."""
    return np.asarray(ndtr((u - left) / sigma) - ndtr((u - right) / sigma))


def fitted(profiles: Floats, u: Floats, width: float, sigma: float, **how: float) -> BarFit:
    n = len(profiles)
    start = np.full(n, width / 2)
    return fit_bars(np.broadcast_to(u, (n, len(u))), profiles, -start, start, sigma, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("width", [1.5, 2.5, 4.0, 7.0, 12.0, 20.0])
def test_widths_are_unbiased(width: float, sigma: float) -> None:
    u = offsets(width)
    centres = np.linspace(-0.5, 0.5, 11)
    profiles = np.stack([SKIN + (SHAFT - SKIN) * bar(u, c - width / 2, c + width / 2, sigma) for c in centres])
    fit = fitted(profiles, u, width + 0.4, sigma, shading=0.02, iterations=12)
    assert fit.ok.all()
    assert fit.width_px == pytest.approx(width, abs=0.05)
    assert fit.centre_px == pytest.approx(centres, abs=0.05)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("width", [5.0, 9.0, 20.0])
def test_noise_does_not_bias_and_its_error_is_told(width: float, sigma: float) -> None:
    rng = np.random.default_rng(3)
    u = offsets(width)
    clean = SKIN + (SHAFT - SKIN) * bar(u, -width / 2, width / 2, sigma)
    fit = fitted(clean + rng.normal(0, 2.0, (400, len(u))), u, width, sigma, shading=0.1, iterations=8)
    assert fit.ok.mean() > 0.95
    error = fit.width_px[fit.ok] - width
    assert np.mean(error) == pytest.approx(0, abs=0.05)
    assert 0.5 < np.mean(np.abs(error) <= fit.width_std_px[fit.ok]) < 0.95
    assert fit.residual[fit.ok] == pytest.approx(2.0, abs=0.9)


@pytest.mark.parametrize(("width", "within"), [(8.0, 0.1), (14.0, 0.05), (20.0, 0.05)])
def test_gloss_along_the_middle_moves_no_edge(width: float, within: float) -> None:
    u = offsets(width)
    gloss = 60.0 * np.exp(-((u - 0.05 * width) ** 2) / (2 * (0.06 * width + 0.4) ** 2))
    profile = SKIN + (SHAFT - SKIN) * bar(u, -width / 2, width / 2, 1.0) + gloss
    fit = fitted(profile[None], u, width + 0.5, 1.0, flank_px=2.0, iterations=10)
    assert fit.ok.all()
    assert fit.width_px == pytest.approx(width, abs=within)


def test_flanks_darker_than_the_middle_move_no_edge() -> None:
    width, sigma = 9.0, 0.9
    u = offsets(width)
    fine = np.linspace(-20, 20, 8001)
    level = np.where(np.abs(fine) < width / 2, -120.0 + 50.0 * (1 - (2 * fine / width) ** 2), 0.0)
    kernel = np.exp(-(fine**2) / (2 * sigma**2))
    blurred = np.convolve(level, kernel / kernel.sum(), mode="same")
    fit = fitted((SKIN + np.interp(u, fine, blurred))[None], u, width + 0.8, sigma, iterations=10)
    assert fit.ok.all()
    assert fit.width_px == pytest.approx(width, abs=0.05)


def test_a_neighbour_beyond_the_ground_looked_at_is_not_seen() -> None:
    width = 6.0
    u = offsets(width)
    profile = SKIN + (SHAFT - SKIN) * (bar(u, -3.0, 3.0, 0.8) + bar(u, 8.5, 14.0, 0.8))
    fit = fitted(profile[None], u, width, 0.8, ground_px=2.5, iterations=8)
    assert fit.ok.all()
    assert fit.width_px == pytest.approx(width, abs=0.05)


def test_the_point_spread_is_found_with_the_width() -> None:
    u = offsets(10.0)
    sigmas = np.array([0.6, 0.9, 1.3, 1.9])
    profiles = np.stack([SKIN + (SHAFT - SKIN) * bar(u, -5.0, 5.0, s) for s in sigmas])
    fit = fitted(profiles, u, 10.5, 1.0, spread_prior=2.0, shading=0.02, iterations=15)
    assert fit.ok.all()
    assert fit.spread_px == pytest.approx(sigmas, rel=0.03)
    assert fit.width_px == pytest.approx(10.0, abs=0.05)


@given(
    width=st.floats(3.0, 20.0),
    sigma=st.floats(0.5, 1.2),
    shift=st.floats(-1.0, 1.0),
    skin=st.floats(20.0, 250.0),
    contrast=st.floats(-150.0, 150.0).filter(lambda c: abs(c) > 10),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_any_bar_where_it_lies_whatever_its_brightness(width: float, sigma: float, shift: float, skin: float, contrast: float) -> None:
    u = offsets(width)
    profile = skin + contrast * bar(u, shift - width / 2, shift + width / 2, sigma)
    fit = fitted(profile[None], u, width, sigma, shading=0.02, iterations=12)
    assert fit.ok.all()
    assert fit.width_px == pytest.approx(width, abs=0.05)
    assert fit.centre_px == pytest.approx(shift, abs=0.05)
    assert np.sign(fit.left_step) == np.sign(contrast) == np.sign(fit.right_step)
    mirrored = fitted(profile[None, ::-1], -u[::-1], width, sigma, shading=0.02, iterations=12)
    assert mirrored.width_px == pytest.approx(fit.width_px, abs=0.01)
    assert mirrored.centre_px == pytest.approx(-fit.centre_px, abs=0.01)


def test_edges_are_held_by_what_is_known_of_them() -> None:
    u = offsets(8.0)
    profile = SKIN + (SHAFT - SKIN) * bar(u, -4.0, 4.0, 1.0)
    free = fitted(profile[None], u, 9.0, 1.0, iterations=8)
    held = fitted(profile[None], u, 9.0, 1.0, edge_prior_px=0.01, iterations=8)
    assert free.width_px == pytest.approx(8.0, abs=0.05)
    assert 8.4 < held.width_px[0] <= 9.0
    assert held.width_std_px < free.width_std_px + 0.05


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_not_ok_and_spoils_no_other(value: float) -> None:
    u = offsets(8.0)
    profiles = np.repeat((SKIN + (SHAFT - SKIN) * bar(u, -4.0, 4.0, 1.0))[None], 3, axis=0)
    profiles[1, 5] = value
    fit = fitted(profiles, u, 8.0, 1.0)
    assert fit.ok.tolist() == [True, False, True]
    assert fit.width_px[[0, 2]] == pytest.approx(8.0, abs=0.05)


def test_nothing_there_is_not_ok() -> None:
    u = offsets(8.0)
    assert not fitted(np.full((2, len(u)), 90.0), u, 8.0, 1.0).ok.any()
    step = np.where(u < 0, 60.0, 180.0)[None]
    assert not fitted(step, u, 8.0, 1.0).ok.any()


def test_no_profiles_give_no_fits() -> None:
    fit = fit_bars(np.zeros((0, 20)), np.zeros((0, 20)), np.zeros(0), np.zeros(0), 1.0)
    assert fit.width_px.shape == fit.ok.shape == (0,)
    empty = fit_bars(np.zeros((2, 0)), np.zeros((2, 0)), -np.ones(2), np.ones(2), 1.0)
    assert not empty.ok.any()
