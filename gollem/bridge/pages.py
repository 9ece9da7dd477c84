"""The dashboard's pages: files that come with GoLLeM, read once. Their policy lets a browser run nothing else."""

import json
from hashlib import sha256
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

FOLDER = Path(__file__).parent.parent / "dashboard"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
# As https://docs.stripe.com/security/guide wants it for its payment form.
_STRIPE = "https://js.stripe.com https://*.js.stripe.com"
# Assets are asked for again each time, and answered 304 while they are the same: a new release shows at once.
_HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin-allow-popups",  # some ways to pay open one
    "Permissions-Policy": 'camera=(), microphone=(), geolocation=(), payment=(self "https://js.stripe.com")',
}


def dashboard(gateway: str, stripe_publishable_key: str) -> list[web.RouteDef]:
    """Everything below gollem/dashboard/, `/` being its index.html; and /dashboard.json, what the page has to know.
    `gateway` is who takes the money: only for Stripe may the page load what is not ours, its payment form."""
    headers = _HEADERS | {"Content-Security-Policy": policy(gateway)}
    told = json.dumps({"gateway": gateway, "stripePublishableKey": stripe_publishable_key}).encode()
    pages = {
        _path(file): (file.read_bytes(), _TYPES[file.suffix]) for file in sorted(FOLDER.rglob("*")) if file.is_file()
    }
    pages["/dashboard.json"] = told, "application/json"
    return [web.get(path, _page(body, kind, headers)) for path, (body, kind) in pages.items()]


def policy(gateway: str) -> str:
    """The Content-Security-Policy: all from here, nothing inline."""
    stripe = f" {_STRIPE}" if gateway == "stripe" else ""
    frames = f"{_STRIPE} https://hooks.stripe.com" if stripe else "'none'"
    calls = " https://api.stripe.com" if stripe else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self'{stripe}",
            "style-src 'self'",
            "img-src 'self'",
            "font-src 'self'",
            f"connect-src 'self'{calls}",
            f"frame-src {frames}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _page(body: bytes, kind: str, headers: dict[str, str]) -> Handler:
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    sent = headers | {"Content-Type": kind, "ETag": etag}

    async def page(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers | {"ETag": etag})
        return web.Response(body=body, headers=sent)

    return page


def _path(file: Path) -> str:
    path = file.relative_to(FOLDER).as_posix()
    return "/" if path == "index.html" else f"/{path}"
