"""The routes that say how the daemon is: status, the latest live measurement, health, metrics, the measurement's schema."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime import __version__
from runtime.analysis.measurement import Measurement, json_schema
from runtime.api.errors import ApiError
from runtime.api.live import LiveView
from runtime.api.models import HealthAnswer, PartHealth, Problem, StatusAnswer
from runtime.api.parts import Parts


def status_routes(parts: Parts, live: LiveView) -> APIRouter:
    """The routes over `parts`."""
    router = APIRouter()
    schema = json_schema()

    @router.get("/api/status", tags=["state"])
    async def status() -> StatusAnswer:
        """The whole daemon at this moment."""
        capture, analysis, captures = parts.capture.status, parts.analysis.status, parts.captures
        return StatusAnswer(
            version=__version__,
            camera=parts.camera_state(),
            analysis=parts.analysis_state(),
            segmenter=parts.segmenter_state(),
            models=parts.models_state(),
            inference=parts.inference_state(),
            calibration=parts.calibration_state(),
            handpiece=parts.handpiece_state(),
            capture_fps=round(parts.capture.rate.per_second(), 1),
            results_per_s=round(parts.analysis.rate.per_second(), 1),
            frames=capture.frames,
            frames_lost=capture.lost,
            frames_damaged=capture.damaged,
            camera_reconnects=capture.reconnects,
            results=analysis.measured,
            segmenter_failures=parts.live_segmenter.failures + parts.capture_segmenter.failures,
            captures_kept=captures.kept,
            captures_waiting=captures.waiting,
            live_clients=live.clients,
            store_notice=parts.store_notice(),
            store_problem=captures.problem,
        )

    @router.get("/api/measurement", tags=["live"], response_model=Measurement, responses={404: {"model": Problem}})
    async def measurement() -> Response:
        """The latest live measurement; the headers X-Sequence and X-Age-Ms name its frame."""
        result = parts.analysis.latest()
        if result is None:
            raise ApiError(404, "nothing has been measured yet", parts.camera_state().message)
        age_ms = (time.monotonic_ns() - result.captured_ns) / 1e6
        headers = {"X-Sequence": str(result.sequence), "X-Age-Ms": f"{age_ms:.1f}"}
        return Response(result.json, media_type="application/json", headers=headers)

    @router.get("/api/schema", tags=["live"])
    async def measurement_schema() -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of a measurement."""
        return schema

    @router.get("/health", tags=["state"], responses={503: {"model": HealthAnswer}})
    async def health(response: Response) -> HealthAnswer:
        """200 where every part works or is in a state that is no failure, such as an absent camera; else 503."""
        now_ns = time.monotonic_ns()
        reports = [report.judged(now_ns) for report in parts.reports()]
        ok = all(report.ok for report in reports)
        response.status_code = 200 if ok else 503
        rows = [PartHealth(name=r.name, ok=r.ok, state=r.state, message=r.message) for r in reports]
        return HealthAnswer(ok=ok, parts=rows)

    @router.get("/metrics", tags=["state"])
    def metrics() -> Response:
        """For Prometheus."""
        return Response(generate_latest(parts.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
