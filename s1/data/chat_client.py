"""Client for models behind an OpenAI-compatible endpoint: sends one question, returns one reply.

The openai library retries temporary failures (429, 5xx, a dropped connection) a bounded number of times and honors
Retry-After up to two minutes. A failure that retries cannot fix ends the stage with EndpointError. The API key is read
from an environment variable and sent only in the request header: no error, log or file contains it, even if the server
echoes it back.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
from dataclasses import replace
from types import TracebackType
from typing import Any

from s1.config.data import Endpoint
from s1.config.schema import ConfigError
from s1.data.replies import Reply, ReplyFault, fault_of, rejection, reply_of
from s1.stages import ChatConfig
from sweep.errors import SweepError

RETRIES = 10  # per question: gives up after about a minute unless Retry-After asks for more
SILENCE_S = 1800.0  # how long to wait for the server's first byte
INTERRUPTION_PAUSES_S = (1.0, 4.0, 16.0)  # before each retry of a reply that the server interrupted
HIDDEN = "<key>"
LEAST_KEY_CHARACTERS = 8
LONGEST_NUMBER = 20  # digits
SERVER_MESSAGE_CHARACTERS = 300  # of the server's message, quoted in an error
REJECTS_QUESTION = (400, 413, 422)  # the server rejects this question; it may accept others
FIXES = {
    401: "Check that the key belongs to this service and is still valid.",
    402: "The account is out of credit: top it up and run the command again; answers so far are kept.",
    403: "Check that the account has access to this model.",
    404: "Check the model's name, and base_url: for most servers it ends in /v1.",
    429: "Lower concurrency or requests_per_minute and run the command again; answers so far are kept.",
}
LATER = "Run the command again when the server is available; answers so far are kept."


class EndpointError(SweepError, RuntimeError):
    """Unrecoverable API error, or a model unsuited to the task."""


class ChatClient:
    """One model behind one endpoint. `async with ChatClient(...) as send: reply = await send(row_id, question)`."""

    def __init__(self, endpoint: Endpoint, config: ChatConfig) -> None:
        from openai import AsyncOpenAI, Timeout

        self._endpoint = endpoint
        self._config = config
        self._key = key_of_endpoint(endpoint)
        self._key_in_text = _key_pattern(self._key) if self._key else None
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=self._key or "none",  # never the library's own choice, OPENAI_API_KEY
            max_retries=RETRIES,
            timeout=Timeout(SILENCE_S, connect=30.0),
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.close()

    async def __call__(self, row_id: str, question: str) -> Reply:
        """Return the reply to one question. Raises EndpointError for an error that would recur for every question."""
        from openai import APIConnectionError, APIStatusError

        try:
            return await self._send_until_complete(row_id, question)
        except APIStatusError as error:
            if error.status_code in REJECTS_QUESTION:
                return self._rejected_reply(row_id, f"{error.status_code}: {error.message}")
            raise EndpointError(self._status_message(error.status_code, error.message)) from None
        except APIConnectionError as error:
            raise EndpointError(self._error_message(self._redacted_excerpt(str(error)).rstrip("."), LATER)) from None
        except json.JSONDecodeError:
            raise EndpointError(self._error_message("its response is not JSON", FIXES[404])) from None

    async def _send_until_complete(self, row_id: str, question: str) -> Reply:
        """Retry a reply that the server interrupted, a few times; then return it as it is."""
        for pause_s in (*INTERRUPTION_PAUSES_S, None):
            # The raw response, because the library's types drop the reasoning and change the usage.
            response = await self._client.chat.completions.with_raw_response.create(
                **chat_request(self._config, question)
            )
            try:
                reply = reply_of(row_id, _body(response.content), self._redact_reply)
            except RecursionError:
                return rejection(row_id, "the server's reply is nested too deeply to parse")
            if reply is not None and fault_of(reply) is not ReplyFault.INTERRUPTED:
                return reply
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        if reply is None:
            excerpt = self._redacted_excerpt(response.text)
            raise EndpointError(self._error_message(f"the response has no choices ({excerpt})", LATER))
        return reply

    def _rejected_reply(self, row_id: str, message: str) -> Reply:
        """Redact the key before truncating, since truncation could leave part of it."""
        reply = rejection(row_id, " ".join(message.split()), self._redacted)
        return replace(reply, refusal=(reply.refusal or "")[:SERVER_MESSAGE_CHARACTERS])

    def _status_message(self, status: int, message: str) -> str:
        """Servers that refuse a key often quote it, so for those show only the status code."""
        excerpt = "" if status in (401, 403) else f" ({self._redacted_excerpt(message)})"
        return self._error_message(f"status {status}{excerpt}", FIXES.get(status, LATER))

    def _error_message(self, problem: str, fix: str) -> str:
        return f"endpoint {self._endpoint.base_url}, model {self._config.model}: {problem}. {fix}"

    def _redacted_excerpt(self, text: str) -> str:
        """The start of a server message on one line, with the key redacted."""
        return self._redacted(" ".join(text.split()))[:SERVER_MESSAGE_CHARACTERS]

    def _redacted(self, text: str) -> str:
        return self._key_in_text.sub(HIDDEN, text) if self._key_in_text else text

    def _redact_reply(self, text: str) -> str:
        """Redact the key in a model's reply, unless it is short: a placeholder such as `none` may be ordinary text."""
        return text if len(self._key or "") < LEAST_KEY_CHARACTERS else self._redacted(text)


def _body(content: bytes) -> Any:
    """Parse a response as JSON: invalid UTF-8 becomes lone surrogates, an oversized integer becomes None.

    Raises json.JSONDecodeError, RecursionError.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_NUMBER else None)


def _key_pattern(key: str) -> re.Pattern[str]:
    """Match the key as it is and with any letter escaped: as in JSON (any number of times), a URL or HTML."""
    letters = []
    for letter in key:
        code = f"{ord(letter):02x}"
        slashes = r"\\*" if letter in "\"'\\/" else ""
        numbers = rf"\\+(?:u00|x)(?i:{code})|%(?:25)*(?i:{code})|&#(?:0*{ord(letter)}|[xX]0*(?i:{code}));"
        letters.append(rf"(?:{slashes}{re.escape(letter)}|{re.escape(html.escape(letter))}|{numbers})")
    return re.compile("".join(letters))


def chat_request(config: ChatConfig, question: str) -> dict[str, Any]:
    """The request body: the question, as in s1, and the sampling options that the config sets."""
    messages = [{"role": "user", "content": question}]
    if config.system is not None:
        messages.insert(0, {"role": "system", "content": config.system})
    options = {"temperature": config.temperature, "top_p": config.top_p, "seed": config.seed}
    given = {name: value for name, value in options.items() if value is not None}
    return {"model": config.model, "messages": messages, "max_tokens": config.max_tokens, **given}


def key_of_endpoint(endpoint: Endpoint) -> str | None:
    """Read the API key from the environment; None if the endpoint needs none. Raises ConfigError if it is missing."""
    if endpoint.key_variable is None:
        return None
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not key or not key.isprintable() or not key.isascii():
        raise ConfigError(
            f"endpoint.key_variable {endpoint.key_variable}: this environment variable"
            f" {'does not hold a valid key' if key else 'is not set'}. Export the key of {endpoint.base_url} in it."
        )
    return key
