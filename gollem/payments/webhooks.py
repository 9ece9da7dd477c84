"""Webhooks of the payment provider, over HTTP. Thin: it stores and answers.

Anybody can knock here, so that whatever comes in is bounded, and nothing that was sent is ever logged or told back.
"""

import asyncio
import logging
from collections import Counter

from aiohttp import web

from gollem.errors import CallerError, OtherMode, WorldError
from gollem.payments.inbox import Inbox

_log = logging.getLogger(__name__)
PATH = "/webhooks/stripe"
MAX_AT_ONCE = 64
REQUEST_S = 10.0


class Webhooks:
    """Give `routes()` to the bridge."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.counts: Counter[str] = Counter()  # by the answer
        self._at_once = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PATH, self._webhook)]

    async def _webhook(self, request: web.Request) -> web.Response:
        """2xx once the event is stored. 400 tells nothing; after 503 the payment provider tries again."""
        try:
            async with asyncio.timeout(REQUEST_S):
                return await self._receive(await request.read(), request.headers.get("Stripe-Signature", ""))
        except web.HTTPRequestEntityTooLarge:
            return self._answer("too_large", 413)
        except TimeoutError:
            return self._answer("late", 503)

    async def _receive(self, raw: bytes, signature: str) -> web.Response:
        if self._at_once >= MAX_AT_ONCE:
            return self._answer("busy", 503)
        self._at_once += 1
        try:
            is_new = await self._inbox.receive(raw, signature)
        except OtherMode:  # a live endpoint of connected accounts is told of test money too: that is no error there
            return self._answer("other_mode", 200)
        except CallerError as error:
            _log.warning("a webhook was refused: %s", error.reason)
            return self._answer("refused", 400)
        except WorldError as error:
            _log.warning("a webhook could not be stored: %s", error.reason)
            return self._answer("unavailable", 503)
        except Exception:
            _log.exception("a webhook broke")
            return self._answer("broken", 500)
        finally:
            self._at_once -= 1
        return self._answer("stored" if is_new else "known", 200)

    def _answer(self, outcome: str, status: int) -> web.Response:
        self.counts[outcome] += 1
        return web.Response(status=status)
