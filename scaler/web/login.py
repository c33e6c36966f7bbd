"""Who may look at the dashboard of a cluster that has a secret: who opens the address that was printed, or knows the secret."""

from __future__ import annotations

import hmac
import secrets
import time
from html import escape

from aiohttp import web

COOKIE = "scaler_session"
SESSION_SECONDS = 7 * 24 * 3600
MOST_SESSIONS = 1000
LONGEST_SECRET = 4096
OPEN = {"/login", "/healthz", "/style.css"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Scaler</title><link rel="stylesheet" href="/style.css"></head>
<body style="display:grid;place-items:center;min-height:100vh;margin:0">
<form method="post" action="/login">
<h1>Scaler</h1>
<p>{said}</p>
<p><label>The cluster's secret: <input type="password" name="secret" autocomplete="current-password" autofocus></label>
<button>Log in</button></p>
</form></body></html>
"""


class Login:
    """Sessions of browsers. ``link`` holds good once; the secret always."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._token = secrets.token_urlsafe(24)
        self._sessions: dict[str, float] = {}

    def link(self, top: str) -> str:
        """The address that lets its first reader in."""
        return f"{top}/login?token={self._token}"

    def is_let_in(self, request: web.Request) -> bool:
        """Whether this one needs no login, or has done it: by cookie, or with the secret as a bearer token."""
        return request.path in OPEN or self.knows(request)

    def knows(self, request: web.Request) -> bool:
        """Whether it has logged in, or has the secret."""
        until = self._sessions.get(request.cookies.get(COOKIE, ""), 0.0)
        if until > time.monotonic():
            return True
        kind, _, told = request.headers.get("Authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._is_secret(told)

    def turned_away(self, request: web.Request) -> web.StreamResponse:
        """For who is not let in: a page for people, a line for programs."""
        if request.path == "/" and request.method == "GET":
            return web.Response(status=303, headers={"Location": "/login"})
        return web.Response(status=401, text="log in first: open / in a browser, or send the secret as bearer token\n")

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """GET /login: with the token of the link it is done, otherwise the page that asks for the secret."""
        token = request.query.get("token", "")
        if self._token and hmac.compare_digest(_encoded(token), self._token.encode()):
            self._token = ""
            return self._let_in(request)
        said = "This link was used before, or is of an earlier start." if token else "This cluster has a secret."
        return _page(said, 401 if token else 200)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """POST /login."""
        told = (await request.post()).get("secret", "")
        if isinstance(told, str) and self._is_secret(told.strip()):
            return self._let_in(request)
        return _page("That is not the cluster's secret.", 401)

    def _is_secret(self, told: str) -> bool:
        return hmac.compare_digest(_encoded(told)[:LONGEST_SECRET], self._secret)

    def _let_in(self, request: web.Request) -> web.StreamResponse:
        now = time.monotonic()
        self._sessions = {name: until for name, until in self._sessions.items() if until > now}
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = secrets.token_urlsafe(32)
        self._sessions[session] = now + SESSION_SECONDS
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", secure=request.secure, path="/"
        )
        return response


def _encoded(text: str) -> bytes:
    """Headers may hold bytes that are no UTF-8, which are in no secret that can be typed."""
    return text.encode("utf-8", "surrogateescape")


def _page(said: str, status: int) -> web.Response:
    return web.Response(status=status, text=PAGE.format(said=escape(said)), content_type="text/html")
