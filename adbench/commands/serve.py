"""`adbench serve`: records on a page in the browser of this machine."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import warnings
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from adbench.commands.console import plain_console
from adbench.commands.keys import PLOT_KEYS, check_root, places_and_keys
from adbench.errors import AdbenchError, DataError, RecordError
from adbench.system.text import counted, printable

if TYPE_CHECKING:
    from adbench.records.record import Record
    from adbench.serve.server import Server

MISSING = "serve needs Starlette and uvicorn: pip install 'adbench-medical[serve]'"


def serve_words(
    words: Sequence[str], images: Path | None = None, out: Path = Path("cases"), port: int = 0, show: bool = False
) -> None:
    """Serve records until Ctrl-C; `words` are folders of records and KEY=VALUE, `images` a folder to step through."""
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise AdbenchError(MISSING) from error
    from adbench.serve.app import make_app
    from adbench.serve.safety import new_token

    if not 0 <= port <= 65535:
        raise AdbenchError(f"--port {port} is not possible: 0, any free port, to 65535.")
    server = prepared(words, images, out)
    listening = bound(port)
    token = new_token()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/"
    console = plain_console()
    console.print(f"adbench serves {counted(len(server.cells), 'record')} at {address}")
    console.print("For research; not a medical device. Only this machine can open it. Ctrl-C ends it.")
    threading.Thread(target=lambda: _warm(server), daemon=True).start()
    if show:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    config = uvicorn.Config(
        make_app(server, token),
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    for ending in ("SIGTERM", "SIGHUP"):  # uvicorn raises the first again, a closed terminal sends the second
        if number := getattr(signal, ending, None):
            signal.signal(number, _end)  # dropped images must go
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
    finally:
        server.dropped.folder.cleanup()


def _end(*_: object) -> NoReturn:
    raise SystemExit(143)


def prepared(words: Sequence[str], images: Path | None, out: Path) -> Server:
    """Return what the page is about; raises AdbenchError for records, keys and folders that can't be used."""
    from adbench.commands.score import load_keys
    from adbench.running.find import images_below
    from adbench.serve.cases import INSTEAD, Folder
    from adbench.serve.cells import ServedCell
    from adbench.serve.server import Server
    from adbench.serve.sources import Listed
    from adbench.system.session import Session

    places, keys = places_and_keys(words, PLOT_KEYS)
    records, session, console = _records([Path(place).expanduser() for place in places]), Session(), plain_console()
    root = keys.get("data_root")
    if root is not None:
        check_root(root)
    machine = load_keys({key: value for key, value in keys.items() if key != "data_root"})
    for text in dict.fromkeys(_named_by(record) for record in records) if root is None else ():
        if text:
            console.print(text)
    cells = [ServedCell(record, machine, root, session) for record in records]
    listed = None
    if images is not None:
        images = images.expanduser()
        if not images.is_dir():
            raise DataError(f"{images} is no folder. --images names a folder of images.")
        paths, sentences = images_below(images)
        for sentence in sentences:
            console.print(sentence)
        listed = Listed(images, paths)
    out = out.expanduser()
    if out.exists() and not out.is_dir():
        raise AdbenchError(f"--out {out} is a file. Cases are saved into a folder: choose another {INSTEAD}.")
    folder = Folder(out.absolute())
    folder.rows(), folder.reviews()  # a folder that is not ours is refused now
    return Server(cells, folder, listed)


def bound(port: int) -> socket.socket:
    """Return a socket that listens on loopback; raises AdbenchError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen()  # a browser that is quicker than the server waits
    except OSError as error:
        listening.close()
        raise AdbenchError(f"--port {port} can't be used: {error.strerror}. Leave it out for any free port.") from error
    return listening


def _records(places: Sequence[Path]) -> list[Record]:
    """Return the records that can be shown, each once."""
    from adbench.records.record import read_all

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = {record.key: record for place in places for record in read_all(place)}
    for warning in seen:
        plain_console().print(f"note: {warning.message}")
    if not found:
        raise RecordError("no record is given. Example: adbench serve runs/<key>, or adbench serve runs")
    single, names = {}, []
    for key, record in found.items():
        if record.content["capability"].get("transductive"):
            names.append(str(record.path))
        else:
            single[key] = record
    if not single:
        raise RecordError(
            f"{names[0]} compares the images that are scored with one another, so it can't score one alone. "
            "Score a folder instead: adbench score RECORD FOLDER"
        )
    if names:
        plain_console().print(f"Left out, as they can't score one image alone: {', '.join(names)}.")
    return list(single.values())


def _named_by(record: Record) -> str:
    """Return a sentence about the folder of images that a record names; "" for phantoms."""
    resolved = record.content["resolved"]
    if resolved["data_root"] == "phantom":
        return ""
    return (
        f"note: reads the images of {resolved['dataset']} in {printable(str(resolved['data_root']))}, as {record.path} "
        "says; data_root=DIR names another folder."
    )


def _warm(server: Server) -> None:
    """Rebuild the first cell while the browser opens, then start what fits need, which takes seconds.

    What goes wrong is said when the page asks for it.
    """
    from adbench.system.processes import warm_up

    with contextlib.suppress(Exception):
        server.cells[0].facts()
        if any(cell.labels for cell in server.cells):
            warm_up()
