"""The requests to a provisioning system: signed, bounded in time and size, their failures errors of the interface."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any

import httpx2

from zonecut.plugin import BackendError, BackendMisconfigured, BackendUnavailable, Withdrawal
from zonecut.plugin.http import failures, make_client
from zonecut_webhook.answers import failure, parse
from zonecut_webhook.documents import dump
from zonecut_webhook.options import WebhookOptions
from zonecut_webhook.signing import Request, SigningKey, content_digest, signature_headers

LARGEST_ANSWER = 8 * 2**20
"""Octets that an answer may have."""

WITHDRAW = "/changes/withdraw"
"""Where a change is withdrawn, below `url`."""

_REQUESTS_AT_A_TIME = 8
_CHUNK = 65536


class Api:
    """One zone in one provisioning system, over one HTTP client."""

    def __init__(self, options: WebhookOptions, key: SigningKey, clock: Callable[[], float] = time.time) -> None:
        """Raises BackendMisconfigured for a file of certificates that cannot be used."""
        self._options = options
        self._key = key
        self._clock = clock
        self._room = asyncio.Semaphore(_REQUESTS_AT_A_TIME)
        self._client = make_client(
            options.url,
            ca=options.ca,
            timeout=options.timeout,
            # an answer that unfolds could be larger than it looks
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "zonecut"},
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        """The document at a path below `url`. Raises BackendError."""
        return await self._exchange("GET", path, query=query, patience=self._options.timeout)

    async def look_up(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question that stands in the body. Raises BackendError."""
        return await self._exchange("POST", path, content=dump(document), patience=self._options.timeout)

    async def change(
        self, path: str, document: Mapping[str, Any], asked: Collection[bytes] = (), idempotency_key: str | None = None
    ) -> None:
        """Have something changed, which concerns these children. Raises BackendError."""
        headers = {"Idempotency-Key": f'"{idempotency_key}"'} if idempotency_key else {}
        await self._exchange(
            "POST",
            path,
            content=dump(document),
            headers=headers,
            asked=asked,
            patience=self._options.write_timeout,
            tells=False,
        )

    async def withdraw(self, document: Mapping[str, Any], idempotency_key: str) -> Withdrawal:
        """Have a change that waits there forgotten. Raises BackendError."""
        headers = {"Idempotency-Key": f'"{idempotency_key}"'}
        patience = self._options.write_timeout
        status, received, body = await self._send("POST", WITHDRAW, None, dump(document), headers, patience)
        if status in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
            return Withdrawal.DROPPED
        if status == HTTPStatus.CONFLICT:
            return Withdrawal.CARRIED_OUT
        if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
            # it may be the whole zone that is not known there now
            await self.get("")
            return Withdrawal.UNKNOWN
        raise self._failure(status, received, body)

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        asked: Collection[bytes] = (),
        patience: float,
        tells: bool = True,
    ) -> dict[str, Any]:
        """The document of a successful answer; empty unless it `tells` something. The time limit is for all of it."""
        status, received, body = await self._send(method, path, query, content, headers or {}, patience)
        if status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
            raise self._failure(status, received, body, asked)
        if not tells:
            return {}
        try:
            return parse(body)
        except ValueError as error:
            reason = f"{self._options.url}{path} sent something that cannot be understood: {error}"
            raise BackendMisconfigured(reason) from None

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        content: bytes | None,
        headers: Mapping[str, str],
        patience: float,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """The status, the header and the body of an answer. The time limit is for all of it."""
        limits = httpx2.Timeout(patience, connect=min(patience, self._options.timeout))
        url = self._options.url
        async with self._room, failures(url, patience), asyncio.timeout(patience):
            request = self._signed(method, path, query, content, headers, limits)
            answer = await self._client.send(request, stream=True)
            try:
                body = await self._body(answer)
            finally:
                await answer.aclose()
        return answer.status_code, answer.headers, body

    def _failure(
        self, status: int, headers: Mapping[str, str], body: bytes, asked: Collection[bytes] = ()
    ) -> BackendError:
        key_file = str(self._options.key)
        return failure(status, headers, body, asked=asked, key_file=key_file, now=self._clock())

    def _signed(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        content: bytes | None,
        headers: Mapping[str, str],
        limits: httpx2.Timeout,
    ) -> httpx2.Request:
        sent = dict(headers)
        if content is not None:
            sent |= {"Content-Type": "application/json", "Content-Digest": content_digest(content)}
        request = self._client.build_request(
            method, self._options.url + path, params=query, content=content, headers=sent, timeout=limits
        )
        target = request.url.raw_path.decode("ascii")
        signed = Request(method, request.headers["Host"], target, request.headers)
        request.headers.update(signature_headers(signed, self._key, self._options.key_id, int(self._clock())))
        return request

    async def _body(self, answer: httpx2.Response) -> bytes:
        """The octets of an answer as they came. Raises BackendUnavailable when there is no end of them."""
        found = bytearray()
        async for chunk in answer.aiter_raw(_CHUNK):
            found += chunk
            if len(found) > LARGEST_ANSWER:
                raise BackendUnavailable(f"{self._options.url} sends more than {LARGEST_ANSWER} octets in an answer")
        return bytes(found)
