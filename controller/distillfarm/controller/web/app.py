"""The web application: one route a page, each of them read-only."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs

import jinja2
from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from distillfarm.controller import matrix
from distillfarm.controller.health import Vitals
from distillfarm.controller.reports import launch_plots, plots
from distillfarm.controller.store.protocol import Store
from distillfarm.controller.web import gate, views
from distillfarm.controller.web.quantities import FILTERS
from distillfarm.domain.errors import FarmError, InvalidRequest, NotFound, Unavailable
from distillfarm.domain.study import StudyState
from distillfarm.wire.blobs import BlobStore

_HERE = Path(__file__).parent
_SIGN_IN_LIMIT_BYTES = 4096
_SESSION_S = 12 * 3600
# An SVG drawn by matplotlib carries its own styles; as an image it can run no script.
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STATUSES = {NotFound: 404, InvalidRequest: 400, Unavailable: 503}

Next = Callable[[Request], Awaitable[Response]]


def create_app(
    store: Store,
    blobs: BlobStore,
    *,
    authenticate: gate.Authenticate | None = None,
    metrics: ASGIApp | None = None,
    vitals: Vitals | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The pages over one store.

    Args:
        store: what is shown.
        blobs: where bundles and logs are downloaded from.
        authenticate: gives (subject, role) of a secret, or None; only users are let in. Without
            it everybody is who asks this computer by its own name, so it must then listen on a
            loopback address only; the check of the name keeps other web sites out, which could
            otherwise reach it through a browser here by DNS rebinding.
        metrics: an ASGI application to mount at ``/metrics``.
        vitals: how the devices fare.
        clock: gives Unix seconds.
    """
    app = FastAPI(title="distillfarm", docs_url=None, redoc_url=None, openapi_url=None)
    pages = _templates(clock)
    if authenticate is None:
        hosts = ["127.0.0.1", "localhost", "[::1]"]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    else:
        _add_sign_in(app, pages, authenticate)
    app.add_middleware(gate.Headers)
    _add_errors(app, pages)
    _add_pages(app, pages, store, vitals or Vitals())
    _add_files(app, store, blobs)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    if metrics is not None:
        app.mount("/metrics", metrics)
    return app


def _templates(clock: Callable[[], float]) -> Jinja2Templates:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(now_s=clock)
    return Jinja2Templates(env=environment)


def _add_sign_in(app: FastAPI, pages: Jinja2Templates, authenticate: gate.Authenticate) -> None:
    def known(secret: str) -> bool:
        return gate.admits(authenticate, secret)

    @app.middleware("http")
    async def require_credential(request: Request, call_next: Next) -> Response:
        if request.url.path in gate.OPEN_PATHS:
            return await call_next(request)
        if await asyncio.to_thread(known, gate.credential(request)):
            return await call_next(request)
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/sign-in", status_code=303)
        return Response("send authorization: Bearer CREDENTIAL\n", status_code=401)

    @app.get("/sign-in", response_class=HTMLResponse)
    def ask(request: Request) -> Response:
        return pages.TemplateResponse(request, "sign_in.html", {"refused": False})

    @app.post("/sign-in", response_class=HTMLResponse)
    async def sign_in(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _SIGN_IN_LIMIT_BYTES:
                raise HTTPException(413, "that is no credential")
        secret = parse_qs(body.decode("ascii", "replace")).get("credential", [""])[0].strip()
        if not await asyncio.to_thread(known, secret):
            return pages.TemplateResponse(
                request, "sign_in.html", {"refused": True}, status_code=401
            )
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(
            gate.COOKIE,
            secret,
            max_age=_SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer


def _add_errors(app: FastAPI, pages: Jinja2Templates) -> None:
    def page(request: Request, status: int, text: str) -> Response:
        return pages.TemplateResponse(
            request, "error.html", {"status": status, "text": text}, status_code=status
        )

    @app.exception_handler(FarmError)
    def farm_error(request: Request, error: FarmError) -> Response:
        status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
        return page(request, status, str(error))

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        return page(request, error.status_code, str(error.detail))


def _add_pages(app: FastAPI, pages: Jinja2Templates, store: Store, vitals: Vitals) -> None:
    @app.get("/", response_class=HTMLResponse)
    def overview(request: Request) -> Response:
        return pages.TemplateResponse(
            request, "overview.html", {"overview": views.overview(store, vitals), "refresh_s": 10}
        )

    @app.get("/studies/{study_id}", response_class=HTMLResponse)
    def study(request: Request, study_id: str) -> Response:
        page = views.study_page(store, study_id)
        refresh_s = 0 if page.study.state.final else 5
        return pages.TemplateResponse(request, "study.html", {"page": page, "refresh_s": refresh_s})

    @app.get("/devices/{device_id}", response_class=HTMLResponse)
    def device(request: Request, device_id: str) -> Response:
        page = views.device_page(store, vitals, device_id)
        return pages.TemplateResponse(request, "device.html", {"page": page, "refresh_s": 0})

    @app.get("/measurements/{measurement_id}", response_class=HTMLResponse)
    def measurement(request: Request, measurement_id: str) -> Response:
        page = views.measurement_page(store, measurement_id)
        return pages.TemplateResponse(request, "measurement.html", {"page": page, "refresh_s": 0})

    @app.get("/matrix", response_class=HTMLResponse)
    def matrix_page(request: Request, wanted: Annotated[views.MatrixFilter, Depends()]) -> Response:
        cells = matrix.cells(store)
        context = {
            "cells": [cell for cell in cells if wanted.admits(cell)],
            "total": len(cells),
            "wanted": wanted,
            "choices": views.matrix_choices(cells),
            "refresh_s": 0,
        }
        return pages.TemplateResponse(request, "matrix.html", context)


def _add_files(app: FastAPI, store: Store, blobs: BlobStore) -> None:
    @app.get("/healthz")
    def health() -> dict[str, str]:
        store.leases()
        return {"status": "ok"}

    def picture(drawn: str, of: str) -> Response:
        if not drawn:
            raise NotFound(f"{of} has nothing to draw here yet")
        headers = {"content-security-policy": _PICTURE_POLICY}
        return Response(drawn, media_type="image/svg+xml", headers=headers)

    @app.get("/studies/{study_id}/pareto.svg")
    def pareto(study_id: str, chipset: str) -> Response:
        found = views.chipset_trials(store, study_id, chipset)
        chosen = found.chosen.trial_id if found.chosen else ""
        drawn = plots.pareto(found.trials, found.front, chosen, found.knee)
        return picture(drawn, f"study {study_id}")

    @app.get("/studies/{study_id}/parts.svg")
    def parts(study_id: str, chipset: str) -> Response:
        chosen = views.chipset_trials(store, study_id, chipset).chosen
        sla = store.study(study_id).spec.sla
        drawn = plots.parts(chosen.exported, sla) if chosen and chosen.exported else ""
        return picture(drawn, f"study {study_id}")

    @app.get("/studies/{study_id}/curves.svg")
    def curves(study_id: str) -> Response:
        return picture(plots.curves(store.trials(study_id)), f"study {study_id}")

    @app.get("/measurements/{measurement_id}/series.svg")
    def series(measurement_id: str, number: int) -> Response:
        seen = views.series(store, measurement_id, number)
        return picture(plots.series(seen), f"measurement {measurement_id}")

    @app.get("/measurements/{measurement_id}/{name}.svg")
    def launches(measurement_id: str, name: str) -> Response:
        page = views.measurement_page(store, measurement_id)
        drawn = "" if page.reading.measurement.emulated else _of_launches(page, name)
        return picture(drawn, f"measurement {measurement_id}")

    @app.get("/studies/{study_id}/logs/{digest}")
    def log(study_id: str, digest: str) -> Response:
        logs = (log for trial in store.trials(study_id) for log in trial.logs)
        if digest not in (each.digest for each in logs) or not blobs.has(digest):
            raise NotFound(f"study {study_id} has no such log")
        return FileResponse(blobs.path(digest), media_type="text/plain; charset=utf-8")

    @app.get("/studies/{study_id}/bundle")
    def bundle(study_id: str) -> Response:
        study = store.study(study_id)
        if study.state is not StudyState.DONE or study.bundle is None:
            raise NotFound(f"study {study_id} is {study.state.value} and has no bundle")
        return FileResponse(
            blobs.path(study.bundle.digest),
            filename=study.bundle.name,
            media_type="application/octet-stream",
        )


def _of_launches(page: views.MeasurementPage, name: str) -> str:
    """A picture of a measurement's launches by its name; empty where there is none."""
    measurement = page.reading.measurement
    match name:
        case "launches":
            return launch_plots.samples(page.drawn)
        case "course":
            return launch_plots.over_time(measurement.launches)
        case "pairs" if page.reading.comparisons and measurement.rival:
            return launch_plots.in_turn(measurement.launches, measurement.rival.launches)
    return ""
