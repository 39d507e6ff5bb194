"""The routes of the page, below /TOKEN/. Errors that a user can fix are the sentences of the command line."""

from __future__ import annotations

import base64
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from adbench.errors import AdbenchError
from adbench.serve import cases, sources
from adbench.serve.safety import Guard, TooLarge, too_large
from adbench.serve.server import PAGE, STYLE, TYPES, Server
from adbench.system.text import printable

Answer = Callable[[Server, Request, dict[str, Any]], Any]
THUMBNAIL = 160  # pixels of the longer side
SCRIPTS = sorted(path.name for path in PAGE.iterdir() if path.name.endswith((".js", ".css")))


def page(server: Server, request: Request, asked: dict[str, Any]) -> Response:
    """Return the page."""
    return Response((PAGE / "index.html").read_text(encoding="utf-8"), media_type="text/html")


def static(server: Server, request: Request, asked: dict[str, Any]) -> Response:
    """Return a script or a style sheet: those of this page, and the site's `style.css`."""
    name = request.path_params["name"]
    if name != "style.css" and name not in SCRIPTS:
        return PlainTextResponse("There is no such file.", 404)
    file = STYLE / name if name == "style.css" else PAGE / name
    return Response(file.read_text(encoding="utf-8"), media_type=TYPES[name.rpartition(".")[2]])


def state(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return the cells, the folder and the colours."""
    return server.state()


def cell(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return what is to be said of a cell; its method is rebuilt now."""
    return server.cell(request.path_params["cell"]).facts()


def tested(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return how many test images a cell has."""
    return {"count": len(server.cell(request.path_params["cell"]).tested)}


def find(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return the number of the folder's next image whose name holds `text`, behind the number `after`."""
    text, after = request.query_params["text"][:200], int(request.query_params["after"])
    return {"number": server.listed.find(text, after) if server.listed else None}


def describe(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return name, size and frames of an image."""
    return server.describe(request.path_params["key"])


def picture(server: Server, request: Request, asked: dict[str, Any]) -> Response:
    """Return an image as PNG, small where `small` is asked."""
    side = THUMBNAIL if "small" in request.query_params else None
    shown = server.shown(request.path_params["key"])
    return Response(sources.picture(shown, server.intensity_range, side), media_type="image/png")


def truth(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return the label and the mask of an image of a dataset."""
    shown = server.shown(request.path_params["key"])
    if shown.item is None:
        return {"label": None, "mask": None}
    owner = server.cell(request.path_params["key"].split("-")[1])
    mask = sources.truth(shown, owner.cell.target.config)
    return {"label": shown.item.label, "mask": None if mask is None else cases.PREFIX + base64.b64encode(mask).decode()}


def score(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Score an image, with other prompts where `overrides` has some; the map as fp32, in base64."""
    found = server.cell(request.path_params["cell"]).score(server.shown(asked["image"]), asked.get("overrides") or {})
    content = None if found.map is None else base64.b64encode(found.map.contiguous().numpy().tobytes()).decode()
    return {"score": found.score, "map": content, "side": 0 if found.map is None else len(found.map)}


def figures(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return sensitivity and specificity at a threshold, over held-out and test images."""
    threshold = float(asked["threshold"])
    if not math.isfinite(threshold):
        raise AdbenchError(f"threshold={threshold} is not possible: a finite number is needed.")
    return [
        {"name": one.name, **one.at(threshold)} for one in server.cell(request.path_params["cell"]).known if not one.why
    ]


def phrases(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return what each phrase says of an image."""
    served = server.cell(request.path_params["cell"])
    return served.phrases(server.shown(asked["image"]), asked.get("overrides") or {})


def support(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return the support of a cell."""
    return server.support(request.path_params["cell"])


def explain(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return the support patch behind the hottest patch."""
    return server.explain(request.path_params["cell"], asked["image"])


def fit(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Start a fit with another support."""
    rows = [[int(row) for row in asked.get(name, [])] for name in ("without", "added")]
    return {"fit": server.fit(request.path_params["cell"], *rows)}


def progress(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Return how far a fit is."""
    return server.progress(request.path_params["number"])


def save(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Save a case."""
    return server.save(asked)


def review(server: Server, request: Request, asked: dict[str, Any]) -> Any:
    """Put a decision on the review list."""
    return server.review(asked)


def review_list(server: Server, request: Request, asked: dict[str, Any]) -> Response:
    """Return the review list as CSV."""
    content = cases.table(cases.REVIEW, server.folder.reviews())
    return Response(
        content, media_type="text/csv", headers={"content-disposition": 'attachment; filename="review.csv"'}
    )


GET: Mapping[str, Answer] = {
    "/": page, "/static/{name}": static, "/api/state": state, "/api/find": find, "/api/review.csv": review_list,
    "/api/cells/{cell}": cell, "/api/cells/{cell}/tested": tested, "/api/cells/{cell}/support": support,
    "/api/images/{key}": describe, "/api/images/{key}/picture": picture, "/api/images/{key}/truth": truth,
    "/api/fits/{number:int}": progress,
}  # fmt: skip
POST: Mapping[str, Answer] = {
    "/api/cells/{cell}/score": score, "/api/cells/{cell}/figures": figures, "/api/cells/{cell}/phrases": phrases,
    "/api/cells/{cell}/explain": explain, "/api/cells/{cell}/fit": fit, "/api/cases": save, "/api/review": review,
}  # fmt: skip


def make_app(server: Server, token: str) -> Guard:
    """Return the application: the routes behind their guard."""
    below = f"/{token}"
    routes = [Route(below + path, _endpoint(server, answer), methods=["GET"]) for path, answer in GET.items()]
    routes += [Route(below + path, _endpoint(server, answer), methods=["POST"]) for path, answer in POST.items()]
    routes.append(Route(f"{below}/api/images", _upload(server), methods=["POST"]))
    return Guard(Starlette(routes=routes), token)


def _endpoint(server: Server, answer: Answer) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        asked: Any = {}
        if request.method == "POST":
            try:
                asked = await request.json()
            except TooLarge:
                return JSONResponse({"error": too_large()}, 413)
            except ValueError:
                asked = None
            if not isinstance(asked, dict):
                return JSONResponse({"error": "the request is no JSON object."}, 400)
        return await run_in_threadpool(_answered, lambda: answer(server, request, asked))

    return endpoint


def _upload(server: Server) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            content = await request.body()
        except TooLarge:
            return JSONResponse({"error": too_large()}, 413)
        name = request.query_params.get("name", "")
        return await run_in_threadpool(_answered, lambda: server.drop(content, name))

    return endpoint


def _answered(answer: Callable[[], Any]) -> Response:
    """Return an answer, or the sentence of what went wrong."""
    try:
        found = answer()
    except AdbenchError as error:
        return JSONResponse({"error": printable(str(error))}, 422)
    except (KeyError, TypeError, ValueError) as error:
        traceback.print_exc(file=sys.stderr)
        return JSONResponse({"error": f"the request can't be read ({type(error).__name__}). Load the page again."}, 400)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return JSONResponse({"error": f"{type(error).__name__}: {printable(str(error))[:300]}"}, 500)
    return found if isinstance(found, Response) else JSONResponse(found)
